#!/usr/bin/env node
/**
 * `npx evenkeel`: the command of `@evenkeel/cli`, under the name that everybody tries first.
 */
import { createRequire } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

const manifest = createRequire(import.meta.url).resolve("@evenkeel/cli/package.json")
await import(pathToFileURL(join(manifest, "../dist/main.js")).href)
