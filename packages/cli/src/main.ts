#!/usr/bin/env node
/**
 * `evenkeel`, as a process. It does nothing but load the rest from Node's cache of compiled code, which makes every start but
 * the first quicker by a third; and where Node is too old for the rest, it says so in a sentence.
 */
import * as Module from "node:module"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`evenkeel needs Node 22.19 or later, and this is ${process.versions.node}\n`)
  process.exit(2)
}
// Deno has none.
Module.enableCompileCache?.()
await import("./process.ts")
