// Shared by the suites: the server's metadata, its demo records, and functions that request tokens.

import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

export const base = new URL(process.env.COUNTERSIGN_BASE)
export const audience = 'https://api.example.com'
export const jane = { username: 'jane@example.com', password: 'correct horse battery staple', brandKey: 'acme' }
export const alice = { username: 'alice.ops', password: 'operator-passphrase', brandKey: 'acme' }

// The library requires TLS unless plain HTTP is allowed explicitly. These requests stay on the
// loopback address.
export const loopback = { [oauth.allowInsecureRequests]: true }

export const as = await oauth.processDiscoveryResponse(
  base,
  await oauth.discoveryRequest(base, { algorithm: 'oauth2', ...loopback }),
)

// Returns a demo client as the first arguments of the library's requests.
export function client(id, secret = `${id}-secret`, authenticate = oauth.ClientSecretBasic) {
  return [as, { client_id: id }, authenticate(secret)]
}
export const app = client('demo-app')
export const service = client('demo-service')
export const voice = client('demo-voice')

export async function granted(request, [, who] = app) {
  return oauth.processGenericTokenEndpointResponse(as, who, await request)
}

export function grant(who, type, parameters = {}) {
  return oauth.genericTokenEndpointRequest(...who, type, parameters, loopback)
}

export function refresh(token, additionalParameters = {}) {
  return oauth.refreshTokenGrantRequest(...app, token, { additionalParameters, ...loopback })
}

// The library checks that the answer is an error that conforms to RFC 6749 5.2.
export async function refused(request, error, status = 400) {
  await assert.rejects(granted(request), { name: 'ResponseBodyError', error, status })
}

export async function voiceToken() {
  return (await granted(grant(voice, 'client_credentials'))).access_token
}

export async function janeTokens(parameters = {}) {
  return granted(grant(app, 'password', { ...jane, ...parameters }))
}
