// The Node snippets of docs/verifying.md, which tests/interop/run extracts from the page.

import assert from 'node:assert/strict'
import { createHmac, createPublicKey } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { mock, test } from 'node:test'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { as, audience, client, grant, granted, janeTokens, voiceToken } from './support.js'

const keys = await (await fetch(as.jwks_uri)).json()
const encode = (value) => Buffer.from(value).toString('base64url')

// Returns the verify function of a snippet, configured for an issuer and an audience.
async function snippet(file, issuer = as.issuer, forAudience = audience) {
  const text = await readFile(new URL(`snippets/${file}`, import.meta.url), 'utf8')
  const name = `${file}.${encode(issuer + forAudience)}.js`
  const configured = text.replaceAll('https://issuer.example.com', issuer).replaceAll(audience, forAudience)
  await writeFile(new URL(`snippets/${name}`, import.meta.url), configured)
  const { verify, verifier } = await import(`./snippets/${name}`)
  // aws-jwt-verify fetches over https only, which this issuer does not offer.
  verifier?.cacheJwks(keys)
  return verify
}

async function tokenOf(id, secret) {
  const who = client(id, secret)
  return (await granted(grant(who, 'client_credentials'), who)).access_token
}

for (const file of ['verify-jose.js', 'verify-aws.js']) {
  const verify = await snippet(file)

  test(`${file} accepts access tokens`, async () => {
    assert.equal((await verify(await voiceToken())).sub, 'demo-voice')
    assert.deepEqual((await verify((await janeTokens()).access_token)).roles, ['subscriber'])
  })

  test(`${file} refuses a token for another API`, async () => {
    const token = await tokenOf('other-api', process.env.OTHER_API_SECRET)
    assert.equal((await (await snippet(file, as.issuer, 'https://other.example.com'))(token)).sub, 'other-api')
    await assert.rejects(verify(token), /aud/i)
  })

  test(`${file} refuses an audience that only shares a prefix`, async () => {
    const longer = await snippet(file, as.issuer, `${audience}/v2`)
    await assert.rejects(longer(await voiceToken()), /aud/i)
  })

  test(`${file} refuses another issuer with the same keys`, async () => {
    const other = await snippet(file, as.issuer.replace('127.0.0.1', 'localhost'))
    await assert.rejects(other(await voiceToken()), /iss/i)
  })

  test(`${file} refuses a refresh token, which is no JWT`, async () => {
    const { refresh_token } = await janeTokens()
    await assert.rejects(verify(refresh_token), /JW[ST]/)
  })

  test(`${file} refuses a token that differs in its type only`, async () => {
    const token = await tokenOf('typ-jwt', process.env.TYP_JWT_SECRET)
    assert.equal(decodeProtectedHeader(token).typ, 'JWT')
    await assert.rejects(verify(token), /typ/)
  })

  test(`${file} refuses an expired token`, async () => {
    const token = await voiceToken()
    mock.timers.enable({ apis: ['Date'], now: (decodeJwt(token).exp + 1) * 1000 })
    try {
      await assert.rejects(verify(token), /exp/)
    } finally {
      mock.timers.reset()
    }
  })

  test(`${file} refuses tampered and unsigned tokens, and HMAC with the public key`, async () => {
    const token = await voiceToken()
    const [header, payload, signature] = token.split('.')
    const changed = encode(JSON.stringify({ ...decodeJwt(token), roles: ['billing'] }))
    await assert.rejects(verify(`${header}.${changed}.${signature}`))
    const { kid } = decodeProtectedHeader(token)
    const none = encode(JSON.stringify({ alg: 'none', typ: 'at+jwt', kid }))
    await assert.rejects(verify(`${none}.${payload}.`))
    await assert.rejects(verify(`${none}.${payload}.${signature}`))
    const jwk = keys.keys.find((key) => key.kid === kid)
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    const input = `${encode(JSON.stringify({ alg: 'HS256', typ: 'at+jwt', kid }))}.${payload}`
    await assert.rejects(verify(`${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`))
  })
}
