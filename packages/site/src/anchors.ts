/**
 * Looks at the site as it was built: every link within it must lead to a page, a file or a heading that is there.
 */
import { existsSync, globSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"

const attributes = (html: string, name: string): ReadonlyArray<string> =>
  Array.from(html.matchAll(new RegExp(`\\s${name}="([^"]*)"`, "g")), (match) =>
    match[1]!.replaceAll("&amp;", "&")
  )

/** The links that lead nowhere, each with the page that has it. */
export const deadLinks = (folder: string, base = "/"): ReadonlyArray<string> => {
  const pages = new Map(
    globSync("**/*.html", { cwd: folder }).map((path) => {
      const html = readFileSync(join(folder, path), "utf8")
      return [
        path.replaceAll("\\", "/"),
        { ids: new Set(attributes(html, "id")), links: attributes(html, "href") }
      ]
    })
  )
  const isDead = (page: string, href: string): boolean => {
    if (/^[a-z]+:|^\/\//i.test(href)) return false
    const [, link, hash] = /^([^#?]*)(?:\?[^#]*)?(?:#(.*))?$/s.exec(href)!
    const path =
      link === ""
        ? page
        : link!.startsWith(base)
          ? link!.slice(base.length)
          : posix.join(posix.dirname(page), link!)
    const file = decodeURIComponent(path === "" || path.endsWith("/") ? `${path}index.html` : path)
    const target = pages.get(file) ?? pages.get(`${file}.html`)
    if (target === undefined) return !existsSync(join(folder, file))
    return hash !== undefined && hash !== "" && !target.ids.has(decodeURIComponent(hash))
  }
  return Array.from(pages, ([page, { links }]) =>
    [...new Set(links)].filter((href) => isDead(page, href)).map((href) => `${page}: ${href}`)
  ).flat()
}

export const checkAnchors = (folder: string): void => {
  const dead = deadLinks(folder, process.env["DOCS_BASE"])
  if (dead.length > 0) throw new Error(`Links that lead nowhere:\n${dead.join("\n")}`)
}
