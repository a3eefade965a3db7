import { assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import { conventional, type Project } from "../src/Convention.ts"
import { problems } from "../src/Lint.ts"
import { entryPoints, type Tarball } from "../src/Tarball.ts"
import { readManifest, root } from "../src/Workspace.ts"

const project = readManifest(join(root, "package.json")) as unknown as Project

// As pnpm packs it: the ranges are resolved, and what publishConfig says has taken its place.
const { publishConfig, ...conventionally } = conventional(
  {
    folder: "packages/core",
    manifest: {
      name: "@evenkeel/core",
      version: "1.2.3",
      description: "A package that is an example of one.",
      keywords: ["openrouter", "llm", "effect"],
      bin: { example: "./dist/bin.js" }
    }
  },
  project,
  root
)
const manifest = {
  ...conventionally,
  name: "@evenkeel/core",
  version: "1.2.3",
  exports: (publishConfig as Record<string, unknown>)["exports"],
  devDependencies: { effect: "4.1.0" }
}

const map = (module: string) => JSON.stringify({ version: 3, sources: [`../src/${module}.ts`], mappings: "" })

const modules = (name: string, source: string, declaration: string) => ({
  [`src/${name}.ts`]: source,
  [`dist/${name}.js`]: source,
  [`dist/${name}.js.map`]: map(name),
  [`dist/${name}.d.ts`]: declaration,
  [`dist/${name}.d.ts.map`]: map(name)
})

const sound: Readonly<Record<string, string>> = {
  "README.md": "# @evenkeel/core\n",
  LICENSE: "MIT License\n",
  ...modules("index", `export * as A from "./A.js"\n`, `export * as A from "./A.js"\n`),
  ...modules("A", "export const a = 1\n", "export declare const a = 1\n"),
  ...modules("bin", "#!/usr/bin/env node\nexport {}\n", "#!/usr/bin/env node\nexport {}\n")
}

const tarball = (files: Readonly<Record<string, string | undefined>>, fields: object = {}): Tarball => {
  const packed = { ...manifest, ...fields }
  const all = { "package.json": JSON.stringify(packed), ...sound, ...files }
  return {
    manifest: packed,
    files: new Map(Object.entries(all).filter((file): file is [string, string] => file[1] !== undefined))
  }
}

describe("a tarball", () => {
  it("that is sound has no problems", async () => {
    assert.deepStrictEqual(await problems(tarball({})), [])
  })

  it("has as entry points what it exports: neither commands nor what is internal", () => {
    const internal = modules("internal/b", "export const b = 1\n", "export declare const b = 1\n")
    assert.deepStrictEqual(entryPoints(tarball(internal)), [".", "./A"])
  })

  it("that is a command alone is sound, and has no entry points", async () => {
    const command = tarball({}, { exports: { "./package.json": "./package.json" } })
    assert.deepStrictEqual(entryPoints(command), [])
    assert.deepStrictEqual(await problems(command), [])
  })

  const broken: ReadonlyArray<
    readonly [what: string, files: Record<string, string | undefined>, fields: object, problem: string]
  > = [
    ["has no licence", { LICENSE: undefined }, {}, "LICENSE is missing"],
    ["has no README", { "README.md": undefined }, {}, "README.md is missing"],
    ["holds tests", { "test/A.test.ts": "" }, {}, "test/A.test.ts does not belong to it"],
    ["holds a build's state", { "dist/.tsbuildinfo": "" }, {}, "dist/.tsbuildinfo does not belong"],
    ["holds a module that is gone", { "dist/B.js": "" }, {}, "dist/B.js has no source"],
    ["maps a source it lacks", { "dist/A.js.map": map("C") }, {}, "which is not in the tarball"],
    ["has a range of the workspace", {}, { dependencies: { a: "workspace:^" } }, `still says "workspace:"`],
    ["has a range of the catalog", {}, { dependencies: { a: "catalog:" } }, `still says "catalog:"`],
    ["exports its sources", {}, conventionally, "@evenkeel/source"],
    [
      "imports what it does not name",
      { "dist/A.js": `import { x } from "@evenkeel/retry/Retry"\nexport const a = x\n` },
      {},
      "@evenkeel/retry is imported, and no dependency"
    ],
    [
      "has types of what it does not name",
      { "dist/A.d.ts": `export declare const a: import("other").B\n` },
      {},
      "other is imported, and no dependency"
    ],
    ["has a command without #!", { "dist/bin.js": "" }, {}, "must begin with #!/usr/bin/env node"],
    ["has an export of nothing", { "dist/index.js": undefined }, {}, "publint: "],
    [
      "has types behind the code",
      {},
      { exports: { ".": { default: "./dist/index.js", types: "./dist/index.d.ts" } } },
      "publint: "
    ],
    ["lacks types", { "dist/A.d.ts": undefined, "src/A.ts": undefined }, {}, "types: "],
    ["is said to be CommonJS", {}, { type: "commonjs" }, "types: "]
  ]
  for (const [what, files, fields, problem] of broken) {
    it(`that ${what} is refused`, async () => {
      assert.include((await problems(tarball(files, fields))).join("\n"), problem)
    })
  }
})
