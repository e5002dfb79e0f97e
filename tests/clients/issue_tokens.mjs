// An issuer of tokens for the tests that is none of ours: the JavaScript library `jose`.
//
// Each line on stdin is a request, each line on stdout its answer:
//
//   {"keys":   [{"kid": "r1", "alg": "RS256"}],
//    "publish": ["r1"],
//    "tokens": [{"name": "good", "kid": "r1", "header": {"typ": "at+jwt"}, "claims": {"sub": "alice"}}]}
//
//   {"jwks": {"keys": [...]}, "pem": {"r1": "-----BEGIN PUBLIC KEY-----..."}, "tokens": {"good": "eyJ..."}}
//
// Every field may be left out. A key pair is made when its `kid` is first named, and kept until stdin ends, so that a
// test can rotate keys. `publish` names the keys of the set that is answered; all of them where it is left out. A key
// with a `secret` is symmetric and never published. Claims are signed as they are given: nothing is added.
import { createInterface } from "node:readline";
import { SignJWT, exportJWK, exportSPKI, generateKeyPair } from "jose";

const keys = new Map();

async function makeKey({ kid, alg, secret }) {
  if (secret !== undefined) {
    return { alg, signWith: new TextEncoder().encode(secret) };
  }
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: "sig" };
  return { alg, signWith: privateKey, jwk, pem: await exportSPKI(publicKey) };
}

async function sign({ kid, header, claims }) {
  const { alg, signWith } = keys.get(kid);
  return new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(signWith);
}

async function answer({ keys: wanted = [], publish, tokens = [] }) {
  for (const key of wanted) {
    if (!keys.has(key.kid)) {
      keys.set(key.kid, await makeKey(key));
    }
  }
  const published = (publish ?? [...keys.keys()]).map((kid) => [kid, keys.get(kid)]).filter(([, key]) => key.jwk);
  const signed = await Promise.all(tokens.map(async (token) => [token.name, await sign(token)]));
  return {
    jwks: { keys: published.map(([, key]) => key.jwk) },
    pem: Object.fromEntries(published.map(([kid, key]) => [kid, key.pem])),
    tokens: Object.fromEntries(signed),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() !== "") {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}
