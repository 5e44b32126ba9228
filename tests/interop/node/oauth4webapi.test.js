// oauth4webapi as client and as resource server. It form-encodes Basic credentials as RFC 6749
// 2.3.1 says: the "-" of our demo clients arrives as "%2D".

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeJwt } from 'jose'
import * as oauth from 'oauth4webapi'
import {
  alice, app, as, audience, base, client, grant, granted, jane, janeTokens, loopback, refresh, refused, service, voice,
  voiceToken,
} from './support.js'

async function introspect(who, token, hint) {
  const additionalParameters = hint ? { token_type_hint: hint } : {}
  const response = await oauth.introspectionRequest(...who, token, { ...loopback, additionalParameters })
  return oauth.processIntrospectionResponse(...who.slice(0, 2), response)
}

function validate(token) {
  const request = new Request(new URL('/api/whoami', base), { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(as, request, audience, { signingAlgorithms: ['ES256'], ...loopback })
}

test('the OpenID path serves the same metadata', async () => {
  const document = await oauth.processDiscoveryResponse(base, await oauth.discoveryRequest(base, loopback))
  assert.deepEqual(document, as)
})

for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
  test(`client_credentials with ${method.name}`, async () => {
    const who = client('demo-service', undefined, method)
    const response = await oauth.clientCredentialsGrantRequest(...who, { brandKey: 'globex' }, loopback)
    const token = await oauth.processClientCredentialsResponse(...who.slice(0, 2), response)
    assert.equal(token.refresh_token, undefined)
    const claims = await validate(token.access_token)
    assert.equal(claims.sub, 'demo-service')
    assert.equal(claims.brandKey, 'globex')
  })
}

test('a user logs in with the password grant', async () => {
  const claims = await validate((await granted(grant(app, 'password', jane))).access_token)
  assert.match(claims.sub, /^usr_/)
  assert.equal(claims.client_id, 'demo-app')
  assert.deepEqual(claims.roles, ['subscriber'])
})

test('operator_password works as an extension grant', async () => {
  const claims = await validate((await granted(grant(app, 'operator_password', alice))).access_token)
  assert.match(claims.sub, /^opr_/)
  assert.equal(claims.operator, 'alice.ops')
})

test('a refresh gives another access token and the next refresh token', async () => {
  const first = await janeTokens()
  const second = await oauth.processRefreshTokenResponse(...app.slice(0, 2), await refresh(first.refresh_token))
  assert.notEqual(second.refresh_token, first.refresh_token)
  assert.equal((await validate(second.access_token)).sub, decodeJwt(first.access_token).sub)
})

test('introspection returns the claims of an access token', async () => {
  const token = await voiceToken()
  const answer = await introspect(voice, token)
  assert.equal(answer.active, true)
  for (const name of ['sub', 'client_id', 'scope', 'exp']) assert.equal(answer[name], decodeJwt(token)[name])
})

test('a revoked refresh token is refused', async () => {
  const { refresh_token } = await janeTokens()
  assert.equal((await introspect(app, refresh_token, 'refresh_token')).token_use, 'refresh_token')
  assert.deepEqual(await introspect(app, refresh_token), { active: false }, 'an API takes it for nothing')
  await oauth.processRevocationResponse(await oauth.revocationRequest(...app, refresh_token, loopback))
  assert.deepEqual(await introspect(app, refresh_token, 'refresh_token'), { active: false })
  await refused(refresh(refresh_token), 'invalid_grant')
})

test('a refresh token does not validate as an access token', async () => {
  await assert.rejects(validate((await janeTokens()).refresh_token), { message: /JWT/ })
})

test('a tampered token does not validate', async () => {
  const [header, , signature] = (await voiceToken()).split('.')
  const claims = { ...decodeJwt(await voiceToken()), roles: ['billing'] }
  const forged = Buffer.from(JSON.stringify(claims)).toString('base64url')
  await assert.rejects(validate(`${header}.${forged}.${signature}`), { message: /signature/ })
})

test('the token opens the protected API', async () => {
  const { access_token } = await granted(grant(service, 'client_credentials', { brandKey: 'acme' }))
  const response = await oauth.protectedResourceRequest(
    access_token, 'GET', new URL('/api/reports', base), undefined, undefined, loopback,
  )
  assert.equal(response.status, 200)
})
