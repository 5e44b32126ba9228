// Refusals, read by a library that is strict about the form of errors and challenges.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oauth from 'oauth4webapi'
import {
  app, base, client, grant, granted, jane, janeTokens, loopback, refresh, refused, service, voice, voiceToken,
} from './support.js'

const acme = { brandKey: 'acme' }

for (const [name, who, type, parameters, error] of [
  ['a brand of another client', service, 'client_credentials', { brandKey: 'initech' }, 'invalid_request'],
  ['a brand, for a client without brands', voice, 'client_credentials', acme, 'invalid_request'],
  ['no brand, for a client with several', service, 'client_credentials', {}, 'invalid_request'],
  ['a scope of another client', service, 'client_credentials', { ...acme, scope: 'calls:read' }, 'invalid_scope'],
  ['an unknown grant', voice, 'urn:example:unknown', {}, 'unsupported_grant_type'],
  ['a grant that the client may not use', voice, 'password', jane, 'unauthorized_client'],
  ['a wrong password', app, 'password', { ...jane, password: 'wrong' }, 'invalid_grant'],
]) {
  test(`refused: ${name}`, () => refused(grant(who, type, parameters), error))
}

for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
  test(`a wrong secret is challenged, sent with ${method.name}`, async () => {
    const response = await grant(client('demo-voice', 'wrong', method), 'client_credentials')
    assert.equal((await response.clone().json()).error, 'invalid_client')
    await assert.rejects(granted(response), {
      name: 'WWWAuthenticateChallengeError',
      status: 401,
      cause: [{ scheme: 'basic', parameters: { realm: 'countersign', charset: 'UTF-8' } }],
    })
  })
}

test('neither a token nor an error is cacheable', async () => {
  for (const brandKey of ['acme', 'initech']) {
    const { headers } = await grant(service, 'client_credentials', { brandKey })
    assert.equal(headers.get('content-type'), 'application/json;charset=UTF-8')
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal(headers.get('pragma'), 'no-cache')
  }
})

test('a refresh may be retried until its successor is used, and is refused afterwards', async () => {
  const first = (await janeTokens()).refresh_token
  await granted(refresh(first))
  const second = (await granted(refresh(first))).refresh_token
  const third = (await granted(refresh(second))).refresh_token
  await refused(refresh(first), 'invalid_grant')
  await granted(refresh(third))
})

test('every token of a revoked family is refused', async () => {
  const first = (await janeTokens()).refresh_token
  const second = (await granted(refresh(first))).refresh_token
  await oauth.processRevocationResponse(await oauth.revocationRequest(...app, second, loopback))
  await refused(refresh(first), 'invalid_grant')
  await refused(refresh(second), 'invalid_grant')
})

function call(path, token) {
  return oauth.protectedResourceRequest(token, 'GET', new URL(path, base), undefined, undefined, loopback)
}

test('the API lets in the callers that the policy allows', async () => {
  assert.equal((await call('/api/whoami', await voiceToken())).status, 200)
  assert.equal((await call('/api/calls', await voiceToken())).status, 200)
})

for (const [name, path, token, status, error] of [
  ['nonsense', '/api/whoami', () => 'nonsense', 401, 'invalid_token'],
  ['a refresh token', '/api/whoami', async () => (await janeTokens()).refresh_token, 401, 'invalid_token'],
  ['a token without the scope', '/api/reports', voiceToken, 403, 'insufficient_scope'],
]) {
  test(`the API answers ${name} with ${error}`, async () => {
    const challenge = await call(path, await token()).catch((thrown) => thrown)
    assert.equal(challenge.status, status)
    assert.equal(challenge.cause[0].scheme, 'bearer')
    assert.equal(challenge.cause[0].parameters.error, error)
  })
}

test('the API answers a caller without credentials with a bare challenge', async () => {
  for (const path of ['/api/whoami', '/api/reports']) {
    const response = await fetch(new URL(path, base))
    assert.equal(response.status, 401)
    assert.match(response.headers.get('www-authenticate'), /^Bearer/)
    assert.doesNotMatch(response.headers.get('www-authenticate'), /error/)
  }
})
