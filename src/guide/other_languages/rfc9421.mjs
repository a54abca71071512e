// KEY_ID=partner-1 SECRET=… node rfc9421.mjs METHOD URL [BODY]
import { createHash, createHmac, randomUUID } from "node:crypto";

// Returns the headers to send with exactly these bytes.
function sign(method, url, contentType, body, keyId, secret) {
  const { host, pathname, search } = new URL(url);
  const headers = {};
  if (body.length > 0) {
    const digest = createHash("sha256").update(body).digest("base64");
    headers["content-type"] = contentType;
    headers["content-digest"] = `sha-256=:${digest}:`;
  }
  const covered = Object.entries({
    "@method": method,
    "@authority": host,
    "@path": pathname,
    "@query": search || "?",
    ...headers,
  });
  const names = covered.map(([name]) => `"${name}"`).join(" ");
  const created = Math.floor(Date.now() / 1000);
  const parameters = `(${names});created=${created};keyid="${keyId}";nonce="${randomUUID()}"`;
  const lines = covered.map(([name, value]) => `"${name}": ${value}\n`);
  const message = `${lines.join("")}"@signature-params": ${parameters}`;
  const mac = createHmac("sha256", secret).update(message).digest("base64");
  return { ...headers, "signature-input": `sig1=${parameters}`, signature: `sig1=:${mac}:` };
}

const [method, url, text = ""] = process.argv.slice(2);
const { KEY_ID, SECRET } = process.env;
const body = Buffer.from(text);
const headers = sign(method, url, "application/json", body, KEY_ID, SECRET);
const answer = await fetch(url, { method, headers, body: text ? body : undefined });
console.log(`${await answer.text()}\n${answer.status}`);
