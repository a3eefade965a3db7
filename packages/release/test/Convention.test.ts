import { assert, describe, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { conventional, problems, type Project } from "../src/Convention.ts"
import { type Manifest, packages, readManifest, root } from "../src/Workspace.ts"

const project = readManifest(join(root, "package.json")) as unknown as Project

describe("every published package", () => {
  it("is looked at", () => {
    const names = packages().map(({ manifest }) => manifest.name)
    assert.includeMembers(names, ["@evenkeel/core", "@evenkeel/openrouter", "@evenkeel/testkit"])
    assert.notIncludeMembers(names, ["@evenkeel/bench", "@evenkeel/release"])
  })

  for (const pkg of packages()) {
    it(`${pkg.folder} keeps the convention (pnpm check:packages --fix writes most of it)`, () => {
      assert.deepStrictEqual(problems(pkg, project, root), [])
    })
  }
})

describe("the convention", () => {
  const minimal: Manifest = {
    name: "@evenkeel/example",
    version: "0.0.0",
    description: "A package that is an example of one.",
    keywords: ["openrouter", "llm", "effect"],
    bin: { example: "./dist/bin.js" },
    dependencies: { "@evenkeel/core": "workspace:^" }
  }

  /** A workspace with this package alone. */
  const workspace = <A>(source: string, use: (root: string) => A): A => {
    const folder = mkdtempSync(join(tmpdir(), "evenkeel-convention-"))
    try {
      mkdirSync(join(folder, "packages/example/src"), { recursive: true })
      writeFileSync(join(folder, "packages/example/src/index.ts"), source)
      writeFileSync(
        join(folder, "packages/example/README.md"),
        "# @evenkeel/example\n\nnpm install @evenkeel/example\n"
      )
      return use(folder)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  const complete = (folder: string, source: Manifest = minimal) =>
    conventional({ folder: "packages/example", manifest: source }, project, folder)

  const found = (change: (manifest: Manifest) => Manifest) =>
    workspace("", (folder) =>
      problems({ folder: "packages/example", manifest: change(complete(folder)) }, project, folder)
    )

  it("holds of what it has completed", () => {
    assert.deepStrictEqual(
      found((manifest) => manifest),
      []
    )
  })

  it("completes what follows from the folder and the root", () =>
    workspace("", (folder) => {
      const { bin, exports, publishConfig, repository } = complete(folder)
      assert.deepStrictEqual(bin, minimal.bin)
      assert.deepStrictEqual(repository, { ...project.repository, directory: "packages/example" })
      // Commands and what is internal cannot be imported, and the sources not from the tarball.
      assert.strictEqual((exports as Record<string, unknown>)["./bin"], null)
      assert.include(JSON.stringify(exports), "@evenkeel/source")
      assert.notInclude(JSON.stringify(publishConfig), "@evenkeel/source")
    }))

  for (const field of [
    "license",
    "homepage",
    "repository",
    "bugs",
    "engines",
    "files",
    "exports",
    "sideEffects"
  ]) {
    it(`misses ${field}`, () => {
      assert.include(
        found((manifest) => ({ ...manifest, [field]: undefined })).join("\n"),
        `${field} must be`
      )
    })
  }

  for (const [what, change, problem] of [
    ["another name", { name: "@evenkeel/other" }, "name must be that of its folder"],
    ["no description", { description: undefined }, "description must be a sentence"],
    ["a keyword twice", { keywords: ["llm", "llm", "effect"] }, "keywords must differ"],
    ["no keywords", { keywords: [] }, "keywords must be three or more"],
    ["side effects", { sideEffects: true }, "sideEffects must be false"],
    ["no provenance", { publishConfig: { access: "public" } }, "publishConfig must be"],
    ["a version of a neighbour", { dependencies: { "@evenkeel/core": "^0.1.0" } }, `must be "workspace:^"`],
    [
      "a version of its own",
      { devDependencies: { effect: "4.1.0" } },
      `devDependencies.effect must be "catalog:"`
    ]
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.include(found((manifest) => ({ ...manifest, ...change })).join("\n"), problem)
    })
  }

  it("takes assets along where there are some", () =>
    workspace("", (folder) => {
      assert.notInclude(JSON.stringify(complete(folder)["files"]), "assets")
      mkdirSync(join(folder, "packages/example/assets"))
      assert.include(JSON.stringify(complete(folder)["files"]), "assets")
    }))

  it("asks for ^ of effect on stable modules, and for ~ on others", () => {
    const range = (source: string) =>
      workspace(source, (folder) => complete(folder).peerDependencies?.["effect"])
    assert.strictEqual(range(`import * as Effect from "effect/Effect"\n`), "^4.1.0")
    assert.strictEqual(range(`import { Effect, pipe } from "effect"\n`), "^4.1.0")
    assert.strictEqual(range(`import { TestClock } from "effect/testing"\n`), "^4.1.0")
    assert.strictEqual(range(`import type * as Redis from "effect/persistence/Redis"\n`), "~4.1.0")
    assert.strictEqual(range(`import {\n  HttpClient,\n  Headers\n} from "effect/http"\n`), "~4.1.0")
    assert.strictEqual(range(`import { type HashRing } from "effect"\n`), "~4.1.0")
    assert.strictEqual(range(`export * from "effect/http"\n`), "~4.1.0")
    // What an example in a comment imports is the reader's.
    assert.strictEqual(range(`/**\n * import { HttpClient } from "effect/http"\n */\n`), "^4.1.0")
  })
})
