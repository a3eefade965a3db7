// The page of results and its charts are what the lab makes of the strategies and scenarios as they are now.
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { command } from "../../examples/lab/page.ts"
import { root } from "./snippets.ts"

const exec = promisify(execFile)

const filesOf = (folder: string): ReadonlyMap<string, string> =>
  new Map(
    readdirSync(folder)
      .toSorted()
      .map((name) => [name, readFileSync(join(folder, name), "utf8")])
  )

/** The files that are not alike, and why. */
const drift = (
  kept: ReadonlyMap<string, string>,
  made: ReadonlyMap<string, string>
): ReadonlyArray<string> => [
  ...Array.from(made.keys(), (name) => [name, kept.get(name)] as const).flatMap(([name, text]) => {
    if (text === undefined) return [`${name} is missing`]
    return text === made.get(name) ? [] : [`${name} is out of date`]
  }),
  ...Array.from(kept.keys()).flatMap((name) =>
    made.has(name) ? [] : [`${name} is no longer made: delete it`]
  )
]

describe("docs/strategies", () => {
  it("finds what has changed, what is missing, and what is left over", () => {
    const kept = new Map([
      ["a", "1"],
      ["b", "1"],
      ["old", ""]
    ])
    const made = new Map([
      ["a", "1"],
      ["b", "2"],
      ["c", ""]
    ])
    assert.deepStrictEqual(drift(kept, made), [
      "b is out of date",
      "c is missing",
      "old is no longer made: delete it"
    ])
  })

  it("is as the lab writes it", { timeout: 180_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "evenkeel-results-"))
    try {
      await exec(
        process.execPath,
        ["--conditions=@evenkeel/source", "examples/lab/main.ts", "--docs", folder],
        { cwd: root }
      )
      const found = drift(filesOf(join(root, "docs/strategies")), filesOf(folder))
      assert.deepStrictEqual(found, [], `in docs/strategies; write them again:\n  ${command}\n`)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
