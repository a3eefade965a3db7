/**
 * What the `package.json` of every published package has in common. Most of it follows from the folder and from the
 * `package.json` of the root, and can be written; the rest is for its author to write.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { effectRange, platformRange } from "./EffectRange.ts"
import type { Manifest, Package } from "./Workspace.ts"

/** What the root says for all packages. */
export interface Project {
  readonly license: string
  readonly homepage: string
  readonly repository: { readonly type: string; readonly url: string }
  readonly bugs: { readonly url: string }
  readonly engines: { readonly node: string }
}

/** The scope is the project's, but for the command that `npx evenkeel` finds. */
const nameOf = (folder: string): string =>
  folder === "packages/evenkeel" ? "evenkeel" : folder.replace("packages/", "@evenkeel/")

const order = (
  "name version type description license keywords homepage repository bugs engines sideEffects bin files exports " +
  "publishConfig dependencies peerDependencies peerDependenciesMeta optionalDependencies devDependencies"
).split(" ")

/** The modules that are commands: to import one would run it, so that none is an entry point. */
const commands = ({ bin = {} }: Manifest): ReadonlyArray<string> =>
  Object.values(bin).map((path) => path.replace(/^(?:\.\/)?dist\/(.*)\.js$/, "./$1"))

const target = (module: string, source: boolean) => ({
  // Only within the workspace: there, packages run from their sources, and no build comes before a test.
  ...(source ? { "@evenkeel/source": `./src/${module}.ts` } : {}),
  types: `./dist/${module}.d.ts`,
  default: `./dist/${module}.js`
})

const exportsOf = (manifest: Manifest, library: boolean, source: boolean) => ({
  "./package.json": "./package.json",
  ...(library
    ? {
        ".": target("index", source),
        "./internal/*": null,
        ...Object.fromEntries(commands(manifest).map((path) => [path, null])),
        "./*": target("*", source)
      }
    : {})
})

/** The package's `package.json` as it should be, so far as that can be known. */
export const conventional = ({ folder, manifest }: Package, project: Project, root: string): Manifest => {
  const library = existsSync(join(root, folder, "src/index.ts"))
  // Files for other programs, as a dashboard for Grafana.
  const assets = existsSync(join(root, folder, "assets")) ? ["assets"] : []
  const complete: Manifest = {
    ...manifest,
    license: project.license,
    homepage: `${project.homepage}/tree/main/${folder}#readme`,
    repository: { ...project.repository, directory: folder },
    bugs: project.bugs,
    type: "module",
    sideEffects: false,
    files: ["src", "dist", "!dist/.tsbuildinfo", ...assets],
    engines: project.engines,
    exports: exportsOf(manifest, library, true),
    publishConfig: { access: "public", provenance: true, exports: exportsOf(manifest, library, false) },
    // Two copies of effect in one program would be two runtimes: it is always the user's.
    peerDependencies: { ...manifest.peerDependencies, effect: effectRange(join(root, folder, "src")) },
    devDependencies: { ...manifest.devDependencies, effect: "catalog:" }
  }
  const rest = Object.keys(complete).filter((field) => !order.includes(field))
  return Object.fromEntries(
    [...order, ...rest].filter((field) => field in complete).map((field) => [field, complete[field]])
  ) as Manifest
}

/** Fields that differ from the convention. */
const differences = (manifest: Manifest, wanted: Manifest): ReadonlyArray<string> =>
  Object.keys(wanted)
    .filter((field) => JSON.stringify(manifest[field]) !== JSON.stringify(wanted[field]))
    .map((field) => `${field} must be ${JSON.stringify(wanted[field])}`)

const ranges = (manifest: Manifest): ReadonlyArray<string> =>
  ["dependencies", "peerDependencies", "optionalDependencies", "devDependencies"].flatMap((kind) =>
    Object.entries((manifest[kind] ?? {}) as Record<string, string>).flatMap(([name, range]) => {
      const wanted = name.startsWith("@evenkeel/")
        ? "workspace:^"
        : kind !== "peerDependencies"
          ? "catalog:"
          : name.startsWith("@effect/")
            ? platformRange
            : range
      return range === wanted ? [] : [`${kind}.${name} must be "${wanted}"`]
    })
  )

/** What is wrong with the package, a line each. */
export const problems = (pkg: Package, project: Project, root: string): ReadonlyArray<string> => {
  const { folder, manifest } = pkg
  const { description, keywords, name } = manifest as {
    name: string
    description?: string
    keywords?: string[]
  }
  const readme = join(root, folder, "README.md")
  const page = existsSync(readme) ? readFileSync(readme, "utf8") : ""
  const rules: ReadonlyArray<readonly [held: boolean, rule: string]> = [
    [name === nameOf(folder), `name must be that of its folder, ${folder}`],
    [/^\S.{20,200}\.$/.test(description ?? ""), "description must be a sentence of 20 to 200 characters"],
    [(keywords ?? []).length >= 3, "keywords must be three or more"],
    [new Set(keywords).size === (keywords ?? []).length, "keywords must differ from each other"],
    [page.startsWith(`# ${name}\n`), `README.md must be there and begin with "# ${name}"`],
    [
      page.includes(`npm install`) && page.includes(` ${name}`),
      "README.md must say how the package is installed"
    ]
  ]
  return [
    ...rules.filter(([held]) => !held).map(([, rule]) => rule),
    ...ranges(manifest),
    ...differences(manifest, conventional(pkg, project, root))
  ]
}
