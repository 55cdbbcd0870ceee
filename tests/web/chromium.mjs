// Unpack the Chromium that npm brought, with the libraries and fonts it needs, into node_modules/.browser beside this
// file and print the executable's path. Nothing outside this folder is read or written.
import { mkdirSync } from "node:fs";

const browser = new URL("node_modules/.browser/", import.meta.url).pathname;
mkdirSync(browser, { recursive: true });
process.env.TMPDIR = browser; // where the package unpacks to
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x"; // makes it unpack NSS and expat too: no system package needed
const { default: chromium } = await import("@sparticuz/chromium");
console.log(await chromium.executablePath());
