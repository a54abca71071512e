// Checks each line of standard input, a SARIF log, against the schema of SARIF 2.1.0, and prints for
// each the list of its errors.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.COUNTERSIGN_PEERS_NODE_PATH}/`);
const Ajv = require("ajv");
const schema = require("@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json");
const ajv = new Ajv({ allErrors: true, schemaId: "auto", unknownFormats: "ignore", meta: false });
ajv.addMetaSchema(require("ajv/lib/refs/json-schema-draft-04.json"));
const check = ajv.compile(schema);
for await (const line of createInterface({ input: process.stdin })) {
  check(JSON.parse(line));
  console.log(JSON.stringify((check.errors ?? []).map((e) => `${e.dataPath} ${e.message}`)));
}
