import { slug } from "github-slugger"
import { posix } from "node:path"
import { defineConfig } from "vitepress"
import { checkAnchors } from "../src/anchors.ts"
import { fence, linkOf, pageOf } from "../src/links.ts"
import { built, fromRoot, root } from "../src/repository.ts"
import { sidebar } from "../src/sidebar.ts"

interface PageOf {
  readonly path: string
  /** The file, where `path` is what it is rewritten to. */
  readonly realPath?: string
}

/** A hull on an even keel. */
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M3 14h26a13 9 0 0 1-26 0zM15 4h2v8h-2zM14 22h4v7h-4z" fill="#3451b2"/></svg>`

export default defineConfig({
  title: "Evenkeel",
  description: "Spreads LLM requests over many OpenRouter API keys, with pluggable strategies, on Effect.",
  lang: "en",
  head: [["link", { rel: "icon", href: `data:image/svg+xml,${encodeURIComponent(icon)}` }]],
  // Where the site does not lie at the root of its host, such as `/evenkeel/`.
  base: process.env["DOCS_BASE"] ?? "/",
  // The pages stay where readers of the repository find them.
  srcDir: root,
  srcExclude: ["**/CHANGELOG.md"],
  rewrites: pageOf,
  outDir: built,
  cacheDir: posix.join(root, "packages/site/.cache"),
  markdown: {
    // The anchors of GitHub, so that one link is right in both places.
    anchor: { slugify: slug },
    config: (md) => {
      md.core.ruler.push("repository-links", ({ env, tokens }) => {
        const { path, realPath }: PageOf = env
        const from = fromRoot(realPath ?? path)
        for (const token of tokens.flatMap(({ children }) => children ?? [])) {
          const href = token.type === "link_open" ? token.attrGet("href") : null
          if (href !== null) token.attrSet("href", linkOf(from, href, slug))
        }
      })
    }
  },
  // A page loads in an instant; nobody should load all that it links to.
  router: { prefetchLinks: false },
  // The index of the search is one piece, and loaded when somebody searches.
  vite: { build: { chunkSizeWarningLimit: 2000 } },
  buildEnd: ({ outDir }) => checkAnchors(outDir),
  themeConfig: {
    nav: [
      { text: "Guide", link: "/overview" },
      { text: "Examples", link: "/examples/" },
      { text: "API", link: "/api/" }
    ],
    sidebar: sidebar(),
    outline: [2, 3],
    search: {
      provider: "local",
      // Headings and prose. The sources of examples and tests would bury them.
      options: { _render: (source, env, md) => md.render(source.replaceAll(fence, ""), env) }
    },
    externalLinkIcon: true
  }
})
