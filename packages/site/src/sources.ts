/**
 * Pages that show sources: of every folder of `examples`, and of all else that a page links to.
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { linksIn, shownWith, sourcePageOf, targetOf } from "./links.ts"
import { root, textOf, titleOf, written } from "./repository.ts"

/** The folders of `examples`, each one use. */
export const exampleFolders: ReadonlyArray<string> = readdirSync(join(root, "examples"), {
  withFileTypes: true
})
  .filter((entry) => entry.isDirectory() && entry.name !== "node_modules")
  .map(({ name }) => `examples/${name}`)

/** What pages link to and what is no page. */
const linked = (): ReadonlyArray<string> =>
  written.flatMap((page) =>
    linksIn(textOf(page)).flatMap((href) => {
      const target = targetOf(page, href)
      return target.kind === "source" && !target.path.endsWith(".svg") ? [shownWith(target.path)] : []
    })
  )

const filesIn = (path: string): ReadonlyArray<string> =>
  statSync(join(root, path)).isFile()
    ? [path]
    : readdirSync(join(root, path), { withFileTypes: true })
        .toSorted((a, b) => Number(a.isDirectory()) - Number(b.isDirectory()) || a.name.localeCompare(b.name))
        .flatMap(({ name }) => filesIn(posix.join(path, name)))

const languages: Readonly<Record<string, string>> = {
  ".ts": "ts",
  ".json": "json",
  ".jsonl": "json",
  ".yml": "yaml"
}

/** A Markdown file is a page of its own; all others are shown. */
const show = (folder: string, file: string): string => {
  if (file.endsWith(".md"))
    return `- [${titleOf(file)}](${posix.relative(posix.dirname(sourcePageOf(folder)), file)})`
  const name = posix.relative(folder, file)
  const language = languages[posix.extname(file)] ?? "text"
  const heading = name === "" ? "" : `## ${name}\n\n`
  return `${heading}\`\`\`\`${language}\n${textOf(file).trimEnd()}\n\`\`\`\`\n`
}

/** Writes a page for each. */
export const writeSources = (): void => {
  for (const path of new Set([...exampleFolders, ...linked()])) {
    const file = join(root, sourcePageOf(path))
    const files = filesIn(path).toSorted(
      (a, b) => Number(b.endsWith("/main.ts")) - Number(a.endsWith("/main.ts"))
    )
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `# ${path}\n\n${files.map((each) => show(path, each)).join("\n")}`)
  }
}
