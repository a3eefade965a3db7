import { assert, describe, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { deadLinks } from "../src/anchors.ts"

const dead = (files: Readonly<Record<string, string>>, base?: string): ReadonlyArray<string> => {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-site-"))
  try {
    for (const [path, html] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), html)
    }
    return deadLinks(folder, base)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const here = `<a href="/"></a><a href="/api/"></a><a href="/a.html#here"></a><a href="#here"></a>
  <a href="/style.css?v=1"></a><a href="https://openrouter.ai/#there"></a><a href="mailto:a@b.c"></a>`

const site = {
  "index.html": here.replace(`<a href="#here"></a>`, ""),
  "a.html": `<h1 id="here">A</h1>${here}`,
  "api/index.html": `<a href="../a.html#here"></a>`,
  "style.css": ""
}

describe("links of the built site", () => {
  it("those that lead somewhere are let be", () => {
    assert.deepStrictEqual(dead(site), [])
  })

  it("a page, a heading and a file that are not there are found", () => {
    const broken = `<a href="/b.html"></a><a href="/a.html#gone"></a><a href="#nowhere"></a><link href="/gone.css">`
    assert.deepStrictEqual(dead({ ...site, "c.html": broken }), [
      "c.html: /b.html",
      "c.html: /a.html#gone",
      "c.html: #nowhere",
      "c.html: /gone.css"
    ])
  })

  it("a site below the root of its host", () => {
    const below = {
      "index.html": `<a href="/docs/a.html#x"></a><a href="/docs/gone.html"></a>`,
      "a.html": `<p id="x">`
    }
    assert.deepStrictEqual(dead(below, "/docs/"), ["index.html: /docs/gone.html"])
  })
})
