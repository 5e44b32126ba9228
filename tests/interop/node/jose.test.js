// jose as the resource server, and the key set as HTTP caches see it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { calculateJwkThumbprint, createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { as, audience, janeTokens, voiceToken } from './support.js'

const jwks = new URL(as.jwks_uri)
const keys = createRemoteJWKSet(jwks)
const expected = {
  algorithms: ['ES256'],
  audience,
  issuer: as.issuer,
  typ: 'at+jwt',
  requiredClaims: ['sub', 'iat', 'exp', 'jti', 'client_id', 'scope', 'roles'],
}

test('an access token verifies with the published keys alone', async () => {
  const { payload, protectedHeader } = await jwtVerify(await voiceToken(), keys, expected)
  assert.equal(payload.sub, 'demo-voice')
  assert.deepEqual(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
})

test('every kid is the RFC 7638 thumbprint of its key', async () => {
  const published = (await (await fetch(jwks)).json()).keys
  for (const jwk of published) assert.equal(jwk.kid, await calculateJwkThumbprint(jwk))
  const { kid } = decodeProtectedHeader(await voiceToken())
  assert.ok(published.some((jwk) => jwk.kid === kid))
})

test('the signature of another token is refused', async () => {
  const [header, payload] = (await voiceToken()).split('.')
  const [, , signature] = (await voiceToken()).split('.')
  await assert.rejects(jwtVerify(`${header}.${payload}.${signature}`, keys, expected), {
    code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  })
})

test('a refresh token is no JWT, so not even a verifier that checks no claim takes it', async () => {
  const { access_token, refresh_token } = await janeTokens()
  await assert.rejects(jwtVerify(refresh_token, keys), { code: 'ERR_JWS_INVALID' })
  const [claims, signature] = refresh_token.slice('csgr_'.length).split('.')
  const disguised = `${access_token.split('.')[0]}.${claims}.${signature}`
  await assert.rejects(jwtVerify(disguised, keys), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
})

test('the key set may be cached for 15 minutes and revalidated', async () => {
  const fresh = await fetch(jwks)
  assert.equal(fresh.headers.get('cache-control'), 'public, max-age=900')
  const again = await fetch(jwks, { headers: { 'if-none-match': fresh.headers.get('etag') } })
  assert.equal(again.status, 304)
  assert.equal(await again.text(), '')
  // A 304 response has the headers of a 200 response (RFC 9110 15.4.5).
  for (const name of ['cache-control', 'etag']) assert.equal(again.headers.get(name), fresh.headers.get(name))
})
