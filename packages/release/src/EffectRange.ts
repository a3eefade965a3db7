/**
 * Which versions of `effect` a package may be used with.
 *
 * Effect keeps its promise of semantic versions for modules that are marked stable, and may change the others in a minor
 * version. So a package that imports stable modules alone asks for `^`, and any other for `~`.
 */
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { readManifest } from "./Workspace.ts"

const effect = dirname(fileURLToPath(import.meta.resolve("effect/package.json")))
const [major, minor] = readManifest(join(effect, "package.json")).version.split(".")

const imports = /^(?:import|export)\s+(?:type\s+)?([^"';]*?)\s*from "effect(?:\/([^"]+))?"/gm

/** The modules of effect that a source imports, as `Effect` or `http/HttpClient`; `http/*` stands for all of a barrel. */
export const modulesOf = (source: string): ReadonlyArray<string> =>
  Array.from(source.matchAll(imports)).flatMap(([, names = "", path]) => {
    if (path !== undefined && existsSync(join(effect, "src", `${path}.ts`))) return [path]
    const prefix = path === undefined ? "" : `${path}/`
    if (!names.includes("{")) return [`${prefix}*`]
    return names
      .replaceAll(/[{}]/g, "")
      .split(",")
      .map(
        (name) =>
          name
            .trim()
            .replace(/^type /, "")
            .split(" ")[0]!
      )
      .filter((name) => name !== "")
      .map((name) => prefix + name)
  })

/** Whether a module, or a barrel, is stable by its header, where its first tag stands; bare functions as `pipe` are. */
export const isStable = (module: string): boolean => {
  const path = join(effect, "src", `${module.replace("*", "index")}.ts`)
  if (!existsSync(path)) return !module.includes("/")
  return /@stability (\w+)/.exec(readFileSync(path, "utf8"))?.[1] === "stable"
}

/** The range of the peer dependency `effect` for a package with the sources of this folder. */
export const effectRange = (folder: string): string => {
  const stable = globSync("**/*.ts", { cwd: folder }).every((path) =>
    modulesOf(readFileSync(join(folder, path), "utf8")).every(isStable)
  )
  return `${stable ? "^" : "~"}${major}.${minor}.0`
}

/** The range of a peer dependency on a package of Effect's own that is unstable throughout, as `@effect/platform-node`. */
export const platformRange = `~${major}.${minor}.0`
