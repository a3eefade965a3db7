/**
 * Where things stand in the repository, and which of them are pages.
 */
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"

/** The repository. All other paths are relative to it, with forward slashes. */
export const root = resolve(import.meta.dirname, "../../..")

/** Pages that are generated: the API reference and sources. */
export const generated = "packages/site/generated"

/** The site as it is served. */
export const built = join(root, "packages/site/dist")

export const textOf = (path: string): string => readFileSync(join(root, path), "utf8")

const manifestOf = (name: string) => JSON.parse(textOf(`packages/${name}/package.json`))

/** The packages that users install, by their folders. */
export const published: ReadonlyArray<string> = readdirSync(join(root, "packages"))
  .filter((name) => existsSync(join(root, "packages", name, "package.json")))
  .filter((name) => !manifestOf(name).private)

/** The name of the package in a folder. */
export const nameOf = (name: string): string => manifestOf(name).name

/** Those of them that programs import; a command has no reference of exports. */
export const libraries: ReadonlyArray<string> = published.filter((name) =>
  existsSync(join(root, "packages", name, "src/index.ts"))
)

/** Pages that people wrote. */
export const written: ReadonlyArray<string> = [
  "*.md",
  "docs/**/*.md",
  "packages/*/README.md",
  "examples/README.md"
]
  .flatMap((pattern) => globSync(pattern, { cwd: root }))
  .map((path) => path.replaceAll("\\", "/"))
  .filter((path) => !/(^|\/)(node_modules|\.\w+)\//.test(path))

/** The first heading of a page. */
export const titleOf = (path: string): string =>
  (/^# (.+)$/m.exec(textOf(path))?.[1] ?? path).replaceAll(/[`\\]/g, "")

export const fromRoot = (file: string): string => relative(root, file).replaceAll("\\", "/")
