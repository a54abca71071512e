// npm `http-message-signatures`: signs and sends the requests that standard input describes, and
// verifies those that come to a server of its own. Ends with standard input. The package has no
// digests: they are Node's own.

import { createHash } from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.COUNTERSIGN_PEERS_NODE_PATH}/`);
const { createSigner, createVerifier, httpbis } = require("http-message-signatures");

const [keyId, secret] = process.argv.slice(2);
const ALGORITHM = "hmac-sha256";

const digestOf = (name, body) =>
  `${name}=:${createHash(name.replace("-", "")).update(body).digest("base64")}:`;

async function signAndSend(wanted) {
  const { method, url, body } = wanted;
  const headers = { host: new URL(url).host };
  for (const [name, value] of wanted.headers) {
    headers[name] = name in headers ? [headers[name], value].flat() : value;
  }
  if (wanted.digest) headers["content-digest"] = digestOf(wanted.digest, body);
  const created = new Date(wanted.created * 1000);
  const params = ["created", "nonce", "alg", "keyid"];
  const paramValues = { created, nonce: wanted.nonce };
  if (wanted.tag) {
    params.push("tag");
    paramValues.tag = wanted.tag;
  }
  if (wanted.expires_after) {
    params.push("expires");
    paramValues.expires = new Date((wanted.created + wanted.expires_after) * 1000);
  }
  const key = createSigner(secret, ALGORITHM, keyId);
  const config = { key, name: wanted.label, fields: wanted.covers, params, paramValues };
  const signed = await httpbis.signMessage(config, { method, url, headers });
  return await send(url, method, signed.headers, body);
}

// Sends the URL as it was signed, and not as `URL` writes it.
function send(url, method, headers, body) {
  const { hostname, port, origin } = new URL(url);
  const path = url.slice(origin.length);
  const options = { hostname, port, path, method, headers, agent: false, timeout: 20_000 };
  return new Promise((resolve, reject) => {
    const request = http.request(options, async (response) =>
      resolve({ status: response.statusCode, body: (await whole(response)).toString() }),
    );
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.end(body || undefined);
  });
}

const whole = async (stream) => Buffer.concat(await stream.toArray());

async function verify(request) {
  const body = await whole(request);
  const { method, headersDistinct: headers } = request;
  const verified = await httpbis.verifyMessage(
    {
      keyLookup: async ({ keyid }) =>
        keyid === keyId && { algs: [ALGORITHM], verify: createVerifier(secret, ALGORITHM) },
    },
    { method, url: `http://${request.headers.host}${request.url}`, headers },
  );
  if (!verified) throw new Error("the signature does not match");
  const [digest] = headers["content-digest"] ?? [];
  if (body.length > 0 && !digest) throw new Error("there is no digest");
  if (digest && digest !== digestOf(digest.split("=")[0], body)) {
    throw new Error("the digest does not match");
  }
  const [input] = headers["signature-input"];
  return JSON.stringify(input.slice(input.indexOf("(") + 1, input.indexOf(")")).split(" "));
}

const server = http.createServer(async (request, response) => {
  try {
    response.end(await verify(request));
  } catch (error) {
    response.statusCode = 401;
    response.end(String(error));
  }
});
server.listen(0, "127.0.0.1", async () => {
  console.log(JSON.stringify({ port: server.address().port }));
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = signAndSend(JSON.parse(line));
    const failed = (error) => ({ status: 0, body: String(error) });
    console.log(JSON.stringify(await answer.catch(failed)));
  }
  process.exit();
});
