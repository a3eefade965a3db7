/**
 * Links as they are written, for readers of the repository, and what they become on the site.
 *
 * A page may link to any file or folder of the repository. Pages go to pages. A folder with a README is that page; other
 * folders and files get a page that shows their sources.
 */
import { existsSync, statSync } from "node:fs"
import { join, posix } from "node:path"
import { generated, root } from "./repository.ts"

/** The page of the site, below its root, for a Markdown file of the repository. */
export const pageOf = (path: string): string => {
  if (path === "README.md") return "index.md"
  if (path === "docs/README.md") return "overview.md"
  if (path.startsWith(`${generated}/`)) {
    return path
      .slice(generated.length + 1)
      .replace("/namespaces/", "/")
      .replace(/README\.md$/, "index.md")
  }
  // What a repository has at its top: docs/security.md is another page than SECURITY.md.
  if (!path.includes("/")) return `repository/${path}`
  return path
    .replace(/^docs\//, "")
    .replace(/^(packages\/[^/]+)\/README\.md$/, "$1.md")
    .replace(/README\.md$/, "index.md")
}

/** Where a link leads: to a page, to sources that have none yet, out of the repository, or nowhere. */
export type Target =
  | { readonly kind: "page"; readonly path: string; readonly hash: string }
  | { readonly kind: "source"; readonly path: string }
  | { readonly kind: "elsewhere" }
  | { readonly kind: "dead" }

export const targetOf = (from: string, href: string): Target => {
  if (/^[a-z]+:|^\/\//i.test(href)) return { kind: "elsewhere" }
  const [, link, hash] = /^([^#]*)(#.*)?$/s.exec(href) as unknown as [string, string, string | undefined]
  const path =
    link === "" ? from : posix.join(posix.dirname(from), decodeURIComponent(link)).replace(/\/$/, "")
  if (path.startsWith("..") || !existsSync(join(root, path))) return { kind: "dead" }
  if (path.endsWith(".md")) return { kind: "page", path, hash: hash ?? "" }
  const readme = posix.join(path, "README.md")
  if (existsSync(join(root, readme))) return { kind: "page", path: readme, hash: hash ?? "" }
  return { kind: "source", path }
}

/** The sources that one page shows: a folder of `examples` goes whole. */
export const shownWith = (path: string): string => /^examples\/[^/]+/.exec(path)?.[0] ?? path

/** The file of the page that shows sources. */
export const sourcePageOf = (path: string): string => {
  // Folders that begin with a dot are no pages to VitePress.
  const shown = shownWith(path).replaceAll(/(^|\/)\./g, "$1")
  return `${generated}/${shown.startsWith("examples/") ? shown : `source/${shown}`}.md`
}

const isFile = (path: string): boolean => statSync(join(root, path)).isFile()

/** The link of the site for one of the repository. Throws where it leads nowhere. */
export const linkOf = (from: string, href: string, slug: (heading: string) => string): string => {
  // Within a page, and those of the headings themselves, by which the search finds its way.
  if (href.startsWith("#")) return href
  const target = targetOf(from, href)
  switch (target.kind) {
    case "dead":
      throw new Error(`${from}: the link ${href} leads nowhere`)
    case "elsewhere":
      return href
    case "page":
      return `/${pageOf(target.path)}${target.hash}`
    case "source": {
      const shown = shownWith(target.path)
      const within = posix.relative(shown, target.path)
      const hash = within === "" || !isFile(target.path) ? "" : `#${slug(within)}`
      return `/${pageOf(sourcePageOf(target.path))}${hash}`
    }
  }
}

/** Blocks of code. */
export const fence = /^( *)(```+)[\s\S]*?^\1\2/gm
const inline = /`[^`\n]*`/g
const link = /\]\(([^)\s]+)(?: "[^"]*")?\)/g

/** All links of a page that are written as `[text](link)`, images among them. */
export const linksIn = (text: string): ReadonlyArray<string> =>
  Array.from(text.replace(fence, "").replace(inline, "").matchAll(link), (match) => match[1]!)
