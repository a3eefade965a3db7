// The pages as they stand in the repository: links between them, and whether all of them can be found.
import { assert, describe, it } from "@effect/vitest"
import GithubSlugger from "github-slugger"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fence, linkOf, linksIn, pageOf, targetOf } from "../src/links.ts"
import { generated, root, textOf, written } from "../src/repository.ts"
import { sections } from "../src/sidebar.ts"
import { exampleFolders } from "../src/sources.ts"

/** The anchors that GitHub gives the headings of a page. */
const anchorsOf = (path: string): ReadonlySet<string> => {
  const slugger = new GithubSlugger()
  const headings = textOf(path)
    .replace(fence, "")
    .matchAll(/^#{1,6} (.+)$/gm)
  return new Set(
    Array.from(headings, ([, text]) => slugger.slug(text!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")))
  )
}

describe("pages", () => {
  for (const page of written) {
    it(`${page} links to what is there`, () => {
      const dead = linksIn(textOf(page)).filter((href) => {
        const target = targetOf(page, href)
        if (target.kind !== "page") return target.kind === "dead"
        return target.hash !== "" && !anchorsOf(target.path).has(target.hash.slice(1))
      })
      assert.deepStrictEqual(dead, [])
    })
  }

  it("no page is left in the middle of a merge", () => {
    assert.deepStrictEqual(
      written.filter((path) => /^(<{7}|>{7}) /m.test(textOf(path))),
      []
    )
  })

  it("a link that leads nowhere is found", () => {
    assert.deepStrictEqual(targetOf("docs/keys.md", "no-such-page.md"), { kind: "dead" })
    assert.deepStrictEqual(targetOf("docs/keys.md", "../../outside.md"), { kind: "dead" })
    assert.throws(
      () => linkOf("docs/keys.md", "no-such-page.md", String),
      "docs/keys.md: the link no-such-page.md"
    )
    assert.isFalse(anchorsOf("docs/keys.md").has("no-such-heading"))
  })

  it("links of the repository become links of the site", () => {
    const slug = (text: string) => text.replaceAll(".", "")
    const links = {
      "credit.md": "/credit.md",
      "strategies.md#affinity": "/strategies.md#affinity",
      "#secrets": "#secrets",
      "../README.md": "/index.md",
      "../packages/core": "/packages/core.md",
      "../packages/testkit#the-lab": "/packages/testkit.md#the-lab",
      "../examples/README.md": "/examples/index.md",
      "../examples/batch/main.ts": "/examples/batch.md#maints",
      "../packages/core/test/Lease.test.ts": "/source/packages/core/test/Lease.test.ts.md",
      "https://openrouter.ai": "https://openrouter.ai"
    }
    for (const [href, link] of Object.entries(links))
      assert.strictEqual(linkOf("docs/keys.md", href, slug), link)
    assert.strictEqual(pageOf(`${generated}/api/core/namespaces/Key.md`), "api/core/Key.md")
    assert.strictEqual(pageOf(`${generated}/api/core/README.md`), "api/core/index.md")
  })

  it("code and inline code hold no links", () => {
    assert.deepStrictEqual(linksIn("[a](b.md) `[c](d.md)`\n```md\n[e](f.md)\n```\n![g](h.svg)"), [
      "b.md",
      "h.svg"
    ])
  })

  it("every page of docs/ is in a table of docs/README.md", () => {
    const listed = new Set(sections().flatMap(({ pages }) => pages.map(({ link }) => link)))
    const missing = written
      .filter(
        (path) => path.startsWith("docs/") && !path.startsWith("docs/adr/") && path !== "docs/README.md"
      )
      .filter((path) => !listed.has(`/${pageOf(path)}`))
    assert.deepStrictEqual(missing, [])
  })

  it("every example is in a table of examples/README.md, with a command for what is there", () => {
    const rows = textOf("examples/README.md")
      .split("\n")
      .filter((line) => line.startsWith("| [`"))
    for (const folder of exampleFolders) {
      const name = folder.slice("examples/".length)
      const row = rows.find((line) => line.startsWith(`| [\`${name}\`](${name}/`))
      assert.isDefined(row, name)
      const command = /`(npx --yes pnpm@12 [^`]+)` \|$/.exec(row!)?.[1]
      assert.isDefined(command, `${name} has a command`)
      const path = /examples\/\S+/.exec(command!)?.[0]
      assert.isTrue(path === undefined || existsSync(join(root, path)), command)
    }
  })
})
