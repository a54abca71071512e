// The packages of senders: each that can sign sends the deliveries that standard input describes, and each
// verifies those that come to a server of this script's own, by the first segment of their path. Ends
// with standard input.

import http from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const packages = process.env.COUNTERSIGN_PEERS_NODE_PATH;
const require = createRequire(`${packages}/`);
const Stripe = require("stripe");
const contentful = require("@contentful/node-apps-toolkit/requests");
const line = require("@line/bot-sdk");
const notion = require("@notionhq/client");
const { Users: zoom } = require("@zoom/rivet");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");
// Written by none of the senders that it verifies.
const { WebhookVerificationService: tern } = require("@hookflo/tern");
// They can be imported, and not required.
const github = await import(
  pathToFileURL(`${packages}/@octokit/webhooks-methods/dist-node/index.js`)
);
const { Webhook: SvixWebhook, WebhookVerificationError: SvixVerificationError } = await import(
  pathToFileURL(`${packages}/svix/dist/index.mjs`)
);

// Zoom's package logs deliveries, which would be printed among the answers.
console.debug = () => {};

const secrets = JSON.parse(process.argv[2]);
const webhook = new Webhook(secrets.standardwebhooks);
const svix = new SvixWebhook(secrets.svix);

const unless = (refusal, verify) => {
  try {
    verify();
    return true;
  } catch (error) {
    if (error instanceof refusal) return false;
    throw error;
  }
};

const byTern = (platform, secret) => ({
  verify: async (headers, body) => {
    const request = new Request("http://localhost", { method: "POST", headers, body });
    return (await tern.verifyWithPlatformConfig(request, platform, secret)).isValid;
  },
});

const senders = {
  contentful: {
    sign: ({ url, time, body }) => {
      const { pathname, search } = new URL(url);
      const request = { method: "POST", path: pathname + search, headers: {}, body };
      return contentful.signRequest(secrets.contentful, request, time * 1000);
    },
    verify: (headers, body, { method, url }) => {
      const request = { method, path: url, headers, body: body.toString() };
      return contentful.verifyRequest(secrets.contentful, request, 300);
    },
  },
  github: {
    sign: async ({ body }) => ({
      "x-hub-signature-256": await github.sign(secrets.github, body),
    }),
    verify: (headers, body) =>
      github.verify(secrets.github, body.toString(), headers["x-hub-signature-256"]),
  },
  "lemon-squeezy": byTern("lemonsqueezy", secrets["lemon-squeezy"]),
  line: {
    verify: (headers, body) =>
      line.validateSignature(body, secrets.line, headers["x-line-signature"]),
  },
  notion: {
    sign: async ({ body }) => ({
      "x-notion-signature": await notion.signWebhookPayload({
        body,
        verificationToken: secrets.notion,
      }),
    }),
    verify: (headers, body) =>
      notion.verifyWebhookSignature({
        body: body.toString(),
        signature: headers["x-notion-signature"],
        verificationToken: secrets.notion,
      }),
  },
  standardwebhooks: {
    sign: ({ id, time, body }) => ({
      "webhook-id": id,
      "webhook-timestamp": String(time),
      "webhook-signature": webhook.sign(id, new Date(time * 1000), body),
    }),
    verify: (headers, body) =>
      unless(WebhookVerificationError, () => webhook.verify(body, headers)),
  },
  svix: {
    sign: ({ id, time, body }) => ({
      "svix-id": id,
      "svix-timestamp": String(time),
      "svix-signature": svix.sign(id, new Date(time * 1000), body),
    }),
    verify: (headers, body) =>
      unless(SvixVerificationError, () => svix.verify(body.toString(), headers)),
  },
  sentry: byTern("sentry", secrets.sentry),
  woocommerce: byTern("woocommerce", secrets.woocommerce),
  zoom: {
    verify: async (headers, body) => {
      const receiver = new zoom.AwsLambdaReceiver({ webhooksSecretToken: secrets.zoom });
      const answer = await receiver.start()({ headers, body: body.toString() }, {});
      return answer.statusCode === 200;
    },
  },
  stripe: {
    sign: ({ time, body }) => ({
      "stripe-signature": Stripe.webhooks.generateTestHeaderString({
        payload: body,
        secret: secrets.stripe,
        timestamp: time,
      }),
    }),
    verify: (headers, body) =>
      unless(Stripe.errors.StripeSignatureVerificationError, () =>
        Stripe.webhooks.constructEvent(body, headers["stripe-signature"], secrets.stripe),
      ),
  },
};

async function signAndSend(delivery) {
  const signed = await senders[delivery.sender].sign(delivery);
  const headers = { ...signed, "content-type": delivery.content_type, "x-other": "1" };
  const options = { method: "POST", headers, agent: false, timeout: 20_000 };
  return new Promise((resolve, reject) => {
    const request = http.request(delivery.url, options, async (response) =>
      resolve({ status: response.statusCode, body: (await whole(response)).toString() }),
    );
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.end(delivery.body);
  });
}

const whole = async (stream) => Buffer.concat(await stream.toArray());

const server = http.createServer(async (request, response) => {
  try {
    const body = await whole(request);
    const sender = senders[request.url.split("/")[1]];
    response.statusCode = (await sender.verify(request.headers, body, request)) ? 200 : 401;
    response.end();
  } catch (error) {
    response.statusCode = 500;
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
