#!/usr/bin/env node
// Runs the command for this processor, with the arguments, the input and the signals of this process.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const binary = fileURLToPath(new URL(`./${process.arch}/countersign`, import.meta.url));
const command = spawn(binary, process.argv.slice(2), { stdio: "inherit" });
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) {
  process.on(signal, () => command.kill(signal));
}
command.on("error", (error) => {
  console.error(`countersign: ${error.message}`);
  process.exitCode = 1;
});
command.on("exit", (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  } else {
    process.exitCode = code;
  }
});
