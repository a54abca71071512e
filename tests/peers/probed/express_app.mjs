// Express with faults, each at a route of its own, and beside each its mended twin. Prints the port
// that it listens on.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createRequire } from "node:module";

const express = createRequire(`${process.env.COUNTERSIGN_PEERS_NODE_PATH}/`)("express");
const SECRET = process.env.PROBED_SECRET;
const app = express();
app.disable("etag");
app.use(express.raw({ type: () => true, limit: "1mb" }));

const effects = new Map();
const paid = new Map();
const seen = new Set();
const later = () => new Promise((resolve) => setTimeout(resolve, 1));

class Refused extends Error {
  constructor(status) {
    super();
    this.status = status;
  }
}

const refuseUnless = (is, status = 401) => {
  if (!is) throw new Refused(status);
};
const isSame = (given, expected) =>
  given.length === expected.length && timingSafeEqual(Buffer.from(given), Buffer.from(expected));
const header = (request, name) => request.get(name) ?? "";
const bytes = (request) => (Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));

function expected(request, body = bytes(request)) {
  const { method, originalUrl } = request;
  const names = ["x-timestamp", "x-nonce", "content-type"];
  const lines = [method, header(request, "host"), originalUrl, ...names.map((n) => header(request, n)), ""];
  return createHmac("sha256", SECRET).update(lines.join("\n")).update(body).digest("hex");
}

function refuseStale(request) {
  const at = header(request, "x-timestamp");
  const age = Date.now() / 1000 - Number(at);
  refuseUnless(/^\d{1,12}$/.test(at) && age >= -5 && age <= 300);
}

function verify(request) {
  refuseStale(request);
  refuseUnless(isSame(header(request, "x-signature"), expected(request)));
}

function claim(nonce) {
  refuseUnless(!seen.has(nonce), 409);
  seen.add(nonce);
}

async function pay(of) {
  await later();
  effects.set(of, (effects.get(of) ?? 0) + 1);
  if (!paid.has(of)) paid.set(of, Date.now());
}

const parsed = (request) => JSON.parse(bytes(request));

async function mended(request) {
  verify(request);
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** Answers, and pays a while later. */
async function paysLater(request) {
  verify(request);
  claim(header(request, "x-nonce"));
  const { id } = parsed(request);
  setTimeout(() => pay(id), 80 + 120 * Math.random());
}

/** The same without a memory. */
async function paysLaterAgain(request) {
  verify(request);
  const { id } = parsed(request);
  setTimeout(() => pay(id), 80 + 120 * Math.random());
}

/** Looks whether the nonce is known, and notes it a moment later. */
async function hasThenAdd(request) {
  verify(request);
  const nonce = header(request, "x-nonce");
  refuseUnless(!seen.has(nonce), 409);
  await later();
  seen.add(nonce);
  await pay(parsed(request).id);
}

/** Reads the time as a number, however it is written. */
async function looseTime(request) {
  const age = Date.now() / 1000 - Number(header(request, "x-timestamp"));
  refuseUnless(age >= -5 && age <= 300);
  refuseUnless(isSame(header(request, "x-signature"), expected(request)));
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** Pays at once, and a fee a moment later. */
async function paysInSteps(request) {
  verify(request);
  claim(header(request, "x-nonce"));
  const { id } = parsed(request);
  await pay(id);
  setTimeout(() => pay(id), 15);
}

/** Takes times that are as far ahead as they may be old. */
async function symmetric(request, now = Date.now()) {
  const at = header(request, "x-timestamp");
  refuseUnless(/^\d{1,12}$/.test(at) && Math.abs(now / 1000 - Number(at)) <= 10);
  refuseUnless(isSame(header(request, "x-signature"), expected(request)));
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** The same by a clock that is four seconds slow. */
async function slowClock(request) {
  const now = Date.now() - 4000;
  request.res.set("date", new Date(now).toUTCString());
  await symmetric(request, now);
}

/** Acts on the identifier that is signed, whatever the path says. */
async function pathIgnored(request) {
  refuseStale(request);
  const lines = [header(request, "x-timestamp"), header(request, "x-nonce"), ""];
  const mac = createHmac("sha256", SECRET).update(lines.join("\n")).update(bytes(request)).digest("hex");
  refuseUnless(isSame(header(request, "x-signature"), mac));
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** Compares as many characters as were sent. */
async function prefix(request) {
  refuseStale(request);
  refuseUnless(expected(request).startsWith(header(request, "x-signature")));
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** Remembers the text of the signature, which can be written in two ways. */
async function signatureText(request) {
  refuseStale(request);
  const given = header(request, "x-signature");
  refuseUnless(isSame(given.toLowerCase(), expected(request)));
  claim(given);
  await pay(parsed(request).id);
}

/** Checks a signature if there is one. */
async function optional(request) {
  if (request.get("x-signature") !== undefined) verify(request);
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** Checks the signature over JSON that was written again. */
async function stringified(request) {
  refuseStale(request);
  let body;
  try {
    body = JSON.stringify(parsed(request));
  } catch {
    throw new Refused(400);
  }
  refuseUnless(isSame(header(request, "x-signature"), expected(request, body)));
  claim(header(request, "x-nonce"));
  await pay(parsed(request).id);
}

/** Claims the nonce first, and gives it back if the signature is wrong. */
async function givenBack(request) {
  const nonce = header(request, "x-nonce");
  seen.has(nonce) && isSame(header(request, "x-signature"), expected(request)) && refuseUnless(false, 409);
  try {
    verify(request);
  } catch (error) {
    seen.delete(nonce);
    throw error;
  }
  claim(nonce);
  await pay(parsed(request).id);
}

/** Knows signatures, and not events. */
async function eventForgotten(request) {
  const signed = eventSignature(request);
  claim(signed);
  await pay(parsed(request).id);
}

async function eventKnown(request) {
  eventSignature(request);
  claim(header(request, "x-event-id"));
  await pay(parsed(request).id);
}

function eventSignature(request) {
  refuseStale(request);
  const lines = [header(request, "x-timestamp"), header(request, "x-event-id"), ""];
  const mac = createHmac("sha256", SECRET).update(lines.join("\n")).update(bytes(request)).digest("hex");
  refuseUnless(isSame(header(request, "x-signature"), mac));
  return mac;
}

const routes = {
  "has-then-add": [hasThenAdd, mended],
  prefix: [prefix, mended],
  "signature-text": [signatureText, mended],
  optional: [optional, mended],
  stringified: [stringified, mended],
  "given-back": [givenBack, mended],
  event: [eventForgotten, eventKnown],
  later: [paysLaterAgain, paysLater],
  "loose-time": [looseTime, mended],
  steps: [hasThenAdd, paysInSteps],
  symmetric: [looseTime, symmetric],
  "slow-clock": [looseTime, slowClock],
  "path-ignored/:of": [pathIgnored, pathIgnored],
};

const answered = (act) => async (request, response) => {
  try {
    await act(request);
    response.json({ paid: true });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    response.sendStatus(error.status);
  }
};
for (const [name, [fault, twin]] of Object.entries(routes)) {
  app.post(`/fault/${name}`, answered(fault));
  app.post(`/mended/${name}`, answered(twin));
}
app.get("/effects/:of", (request, response) => {
  response.type("text").send(`${effects.get(request.params.of) ?? 0}`);
});
/** The effects of all. */
app.get("/all", (request, response) => {
  response.type("text").send(`${[...effects.values()].reduce((sum, one) => sum + one, 0)}`);
});
/** The effects, and one of somebody else's a while after the first. */
app.get("/shared/:of", (request, response) => {
  const since = Date.now() - (paid.get(request.params.of) ?? Date.now());
  response.type("text").send(`${(effects.get(request.params.of) ?? 0) + (since > 2000 ? 1 : 0)}`);
});
/** The effects, beside a clock. */
app.get("/clock/:of", (request, response) => {
  response.json({ effects: effects.get(request.params.of) ?? 0, now: Math.floor(Date.now() / 1000) });
});
app.use((error, request, response, next) => {
  response.sendStatus(error.status ?? 500);
});

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
