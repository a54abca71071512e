// KEY_ID=partner-1 SECRET=… node house.mjs METHOD URL [BODY]
import { createHmac, randomUUID } from "node:crypto";

// Returns the headers to send with exactly these bytes.
function sign(method, url, body, keyId, secret) {
  const { host, pathname, search } = new URL(url);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const nonce = randomUUID();
  const lines = [method, host, pathname + search, keyId, timestamp, nonce, ""];
  const mac = createHmac("sha256", secret).update(lines.join("\n")).update(body).digest("hex");
  return {
    "x-key-id": keyId,
    "x-timestamp": timestamp,
    "x-nonce": nonce,
    "x-signature": `sha256=${mac}`,
  };
}

const [method, url, text = ""] = process.argv.slice(2);
const { KEY_ID, SECRET } = process.env;
const body = Buffer.from(text);
const headers = sign(method, url, body, KEY_ID, SECRET);
headers["content-type"] = "application/json";
const answer = await fetch(url, { method, headers, body: text ? body : undefined });
console.log(`${await answer.text()}\n${answer.status}`);
