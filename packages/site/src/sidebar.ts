/**
 * The way through the site. The order of the pages is that of the tables in docs/README.md, so it is written down once.
 */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import type { DefaultTheme } from "vitepress"
import { pageOf, sourcePageOf, targetOf } from "./links.ts"
import { generated, libraries, nameOf, published, root, textOf, titleOf, written } from "./repository.ts"
import { exampleFolders } from "./sources.ts"

type Item = DefaultTheme.SidebarItem

const index = "docs/README.md"

const item = (path: string, text: string = titleOf(path)): Item => ({ text, link: `/${pageOf(path)}` })

/** The sections of docs/README.md, with the page that each row of their tables links to first. */
export const sections = (): ReadonlyArray<{ readonly title: string; readonly pages: ReadonlyArray<Item> }> =>
  textOf(index)
    .split(/^## /m)
    .slice(1)
    .map((section) => ({
      title: section.slice(0, section.indexOf("\n")),
      pages: Array.from(section.matchAll(/^\| \[([^\]]+)\]\(([^)]+)\)/gm), ([, text, href]) => {
        const target = targetOf(index, href!)
        return target.kind === "page" ? [item(target.path, text)] : []
      }).flat()
    }))
    .filter(({ pages }) => pages.length > 0)

const guide = (): Array<Item> => [
  ...sections().map(({ pages, title }): Item => ({ text: title, items: [...pages], collapsed: false })),
  {
    text: "Packages",
    collapsed: true,
    items: published.map((name) => item(`packages/${name}/README.md`, nameOf(name)))
  },
  {
    text: "Examples",
    collapsed: true,
    items: [
      item("examples/README.md", "How to run them"),
      ...exampleFolders.map((path) => item(sourcePageOf(path), path.slice("examples/".length)))
    ]
  },
  {
    text: "Decisions",
    collapsed: true,
    items: written
      .filter((path) => /^docs\/adr\/\d/.test(path))
      .toSorted()
      .map((path) => item(path))
  }
]

const modulesOf = (folder: string): Array<Item> =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { withFileTypes: true })
        .map((entry) => ({
          name: entry.name.replace(/\.md$/, ""),
          path: `${folder}/${entry.name}${entry.isDirectory() ? "/README.md" : ""}`
        }))
        .toSorted((a, b) => a.name.localeCompare(b.name))
        .map(({ path }) => item(path))
    : []

const api = (): Array<Item> => [
  { text: "API reference", link: `/${pageOf(`${generated}/api/README.md`)}` },
  ...libraries.map((name): Item => {
    const folder = `${generated}/api/${name}`
    return {
      ...item(`${folder}/README.md`),
      collapsed: name !== "core" && name !== "openrouter",
      items: modulesOf(`${folder}/namespaces`)
    }
  })
]

/** The API reference has a bar of its own; it is longer than all the rest. */
export const sidebar = (): DefaultTheme.SidebarMulti => ({ "/api/": api(), "/": guide() })

/** Every page that a sidebar links to, as it is served. */
export const pagesOfSidebar = (): ReadonlyArray<string> => {
  const linksOf = ({ items = [], link }: Item): ReadonlyArray<string> => [
    ...(link === undefined
      ? []
      : [link.replace(/(index)?\.md$/, (_, home) => (home === undefined ? ".html" : ""))]),
    ...items.flatMap(linksOf)
  ]
  return Object.values(sidebar()).flatMap((items) => (items as Array<Item>).flatMap(linksOf))
}
