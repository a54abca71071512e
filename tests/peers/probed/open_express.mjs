// An Express application that checks no signature, and whose transfer reads, waits and writes.
// Prints the port that it listens on, unless it is given a socket.

import { createRequire } from "node:module";

const express = createRequire(`${process.env.COUNTERSIGN_PEERS_NODE_PATH}/`)("express");
const app = express();
app.use(express.json());
let transfers = 0;
const amounts = [];

app.get("/transfers", (_, response) => response.json(transfers));
app.get("/amounts", (_, response) => response.json(amounts));
app.post("/transfer", async (request, response) => {
  const { amount } = request.body;
  await new Promise((resolve) => setTimeout(resolve, 2));
  transfers += 1;
  amounts.push(amount);
  response.json({ amount, by: request.get("countersign-key-id") });
});

const [, , socket] = process.argv;
const server = socket
  ? app.listen({ path: socket, writableAll: true })
  : app.listen(0, "127.0.0.1", () => console.log(server.address().port));
