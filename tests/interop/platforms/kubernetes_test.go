// Package platforms tests the authenticators of platforms that verify tokens by themselves.
package platforms

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

const audience = "https://api.example.com"

type key struct {
	private *ecdsa.PrivateKey
	id      string
}

func newKey(t *testing.T, id string) key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{private, id}
}

// issuer serves the metadata of a real `countersign dev` over https, with keys of the test.
type issuer struct {
	*httptest.Server
	mu   sync.Mutex
	keys []key
	away bool
}

func newIssuer(t *testing.T, keys ...key) *issuer {
	base := os.Getenv("COUNTERSIGN_BASE")
	answer, err := http.Get(base + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metadata, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{keys: keys}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case i.away:
			w.WriteHeader(http.StatusInternalServerError)
		case strings.HasSuffix(r.URL.Path, "/jwks.json"):
			var set jose.JSONWebKeySet
			for _, k := range i.keys {
				set.Keys = append(set.Keys,
					jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: "ES256", Use: "sig"})
			}
			_ = json.NewEncoder(w).Encode(set)
		default:
			fmt.Fprint(w, strings.ReplaceAll(string(metadata), base, i.URL))
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(keys ...key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

func (i *issuer) setAway(away bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.away = away
}

// token signs the access token that Countersign would mint, except for the given claims;
// nil removes one.
func (i *issuer) token(t *testing.T, k key, changed map[string]any) string {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": i.URL, "sub": "demo-service", "aud": audience, "iat": now, "exp": now + 3600, "jti": "j",
		"client_id": "demo-service", "scope": "reports:read", "roles": []string{"reporting"},
	}
	for name, value := range changed {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", k.id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k.private}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// newAuthenticator reads the configuration that the documentation prints, as kube-apiserver does.
func newAuthenticator(t *testing.T, i *issuer) authenticator.Token {
	text, err := os.ReadFile(os.Getenv("AUTHENTICATION_CONFIGURATION"))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	configured := strings.ReplaceAll(string(text), "https://issuer.example.com", i.URL)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), []byte(configured))
	if err != nil {
		t.Fatal(err)
	}
	configuration, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok || len(configuration.JWT) != 1 {
		t.Fatalf("not a configuration with one issuer: %T", object)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
	ca, err := oidcCA(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	tokens, err := oidc.New(ctx, oidc.Options{
		JWTAuthenticator:     configuration.JWT[0],
		CAContentProvider:    ca,
		SupportedSigningAlgs: oidc.AllValidSigningAlgorithms(), // as kube-apiserver
		Compiler:             authenticationcel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())),
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

type oidcRoot []byte

func (root oidcRoot) CurrentCABundleContent() []byte { return root }

func oidcCA(root []byte) (oidc.CAContentProvider, error) { return oidcRoot(root), nil }

func authenticate(tokens authenticator.Token, token string) (*authenticator.Response, error) {
	response, ok, err := tokens.AuthenticateToken(context.Background(), token)
	if err == nil && !ok {
		err = fmt.Errorf("not a token of this issuer")
	}
	return response, err
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func withHeader(token, header string) string {
	parts := strings.Split(token, ".")
	return encode([]byte(header)) + "." + parts[1] + "." + parts[2]
}

func TestKubernetesAuthenticatesTheCallersOfAnIssuer(t *testing.T) {
	signing, next, withdrawn := newKey(t, "signing"), newKey(t, "next"), newKey(t, "withdrawn")
	i := newIssuer(t, signing, withdrawn)
	i.setAway(true)
	tokens := newAuthenticator(t, i)
	good := i.token(t, signing, nil)
	if _, err := authenticate(tokens, good); err == nil || !strings.Contains(err.Error(), "not initialized") {
		t.Fatalf("while the issuer is away: %v", err)
	}
	i.setAway(false)
	eventually(t, "does not recover", func() bool { _, err := authenticate(tokens, good); return err == nil })

	response, err := authenticate(tokens, good)
	if err != nil {
		t.Fatal(err)
	}
	if name := response.User.GetName(); name != "countersign:demo-service" {
		t.Fatalf("the user is %q", name)
	}
	if groups := response.User.GetGroups(); len(groups) != 1 || groups[0] != "countersign:reporting" {
		t.Fatalf("the groups are %q", groups)
	}

	parts := strings.Split(good, ".")
	now := time.Now().Unix()
	for name, token := range map[string]string{
		"expired":                     i.token(t, signing, map[string]any{"exp": now - 120, "iat": now - 3720}),
		"for another API":             i.token(t, signing, map[string]any{"aud": "https://other.example.com"}),
		"for an API with this prefix": i.token(t, signing, map[string]any{"aud": audience + "/v2"}),
		"of another issuer":           i.token(t, signing, map[string]any{"iss": "https://evil.example.com"}),
		"longer than an hour":         i.token(t, signing, map[string]any{"exp": now + 90_000}),
		"alg none":                    withHeader(good, `{"alg":"none","typ":"at+jwt","kid":"signing"}`),
		"HS256":                       withHeader(good, `{"alg":"HS256","typ":"at+jwt","kid":"signing"}`),
		"tampered":                    parts[0] + "." + encode([]byte(strings.ReplaceAll(payload(t, good), "reporting", "billing"))) + "." + parts[2],
		"an unknown kid":              i.token(t, newKey(t, "unknown"), nil),
		"another key under this kid":  i.token(t, newKey(t, "signing"), nil),
		"a refresh token":             "csgr_" + parts[1] + "." + parts[2],
		"without client_id":           i.token(t, signing, map[string]any{"client_id": nil}),
	} {
		if _, err := authenticate(tokens, token); err == nil {
			t.Errorf("a token %s is accepted", name)
		}
	}

	// A rotation, and a withdrawal that it sees when the next key signs.
	old := i.token(t, withdrawn, nil)
	if _, err := authenticate(tokens, old); err != nil {
		t.Fatal(err)
	}
	i.publish(signing, next)
	if _, err := authenticate(tokens, i.token(t, next, nil)); err != nil {
		t.Errorf("a token of the next key: %v", err)
	}
	if _, err := authenticate(tokens, old); err == nil {
		t.Error("a token of the withdrawn key is accepted")
	}

	// A clock that is a minute behind does not matter: kube-apiserver ignores iat.
	if _, err := authenticate(tokens, i.token(t, signing, map[string]any{"iat": now + 55})); err != nil {
		t.Errorf("a token from a clock that is ahead: %v", err)
	}
}

func payload(t *testing.T, token string) string {
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
