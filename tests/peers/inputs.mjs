// npm `structured-headers`: reads dictionaries, each a line of JSON, and answers with the names in
// them and how each member is serialized; or with null.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.COUNTERSIGN_PEERS_NODE_PATH}/`);
const { parseDictionary, serializeList } = require("structured-headers");

function read(field) {
  try {
    return [...parseDictionary(field)].map(([name, member]) => [name, serializeList([member])]);
  } catch {
    return null;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(read(JSON.parse(line)))}\n`);
}
