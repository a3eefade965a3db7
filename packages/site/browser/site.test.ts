// Every page of the site, in a real browser.
import { existsSync } from "node:fs"
import { join } from "node:path"
import { chromium, type Browser, type Page } from "playwright-core"
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "vitest"
import { built } from "../src/repository.ts"
import { pagesOfSidebar } from "../src/sidebar.ts"
import { serve, type Served } from "./serve.ts"

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  existsSync
)
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

const desk = { width: 1280, height: 900 }
const phone = { width: 390, height: 900 }

const pages = [...new Set(pagesOfSidebar())]

describe.skipIf(executablePath === undefined)("the docs site in a browser", () => {
  let served: Served
  let browser: Browser
  let page: Page
  /** What the browser complained of since the test began. */
  const complaints: Array<string> = []

  beforeAll(async () => {
    assert.isTrue(existsSync(join(built, "index.html")), "the site is built, by pnpm docs:build")
    served = await serve(built)
    browser = await chromium.launch({ executablePath: executablePath!, args })
    page = await browser.newPage({ baseURL: served.origin })
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()))
        complaints.push(`${message.type()}: ${message.text()}`)
    })
    page.on("pageerror", (error) => complaints.push(`thrown: ${error.message}`))
    page.on("requestfailed", (request) => {
      // Whoever leaves a page that still loads breaks that off.
      const why = request.failure()?.errorText
      if (why !== "net::ERR_ABORTED") complaints.push(`failed: ${request.url()}: ${why}`)
    })
    page.on("response", (response) => {
      if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`)
      if (!response.url().startsWith(served.origin)) complaints.push(`not ours: ${response.url()}`)
    })
  })

  afterAll(async () => {
    await browser?.close()
    await served?.close()
  })

  beforeEach(() => void (complaints.length = 0))

  /** Opens a page, and waits until it is alive: until then a click would be lost. */
  const open = async (path: string) => {
    const response = await page.goto(path, { waitUntil: "domcontentloaded" })
    await page.waitForFunction(() => "__vue_app__" in document.querySelector("#app")!)
    return response!.status()
  }

  it("there are pages of all kinds", () => {
    for (const path of ["/start.html", "/adr/", "/api/core/", "/api/openrouter/", "/examples/", "/packages/"])
      assert.isAbove(pages.filter((page) => page.startsWith(path)).length, 0, path)
  })

  it.each(["/", ...pages])("%s", async (path) => {
    await page.setViewportSize(phone)
    assert.strictEqual(await open(path), 200)

    assert.strictEqual(await page.locator("main h1").count(), 1)
    assert.isNotEmpty((await page.locator("main h1").innerText()).trim())

    const seen = await page.evaluate(() => {
      const main = document.querySelector("main")!
      const blocks = Array.from(main.querySelectorAll("div[class*='language-']"))
      const prose = main.cloneNode(true) as HTMLElement
      for (const code of prose.querySelectorAll("pre, code")) code.remove()
      return {
        blocks: blocks.length,
        highlighted: blocks.filter((block) => block.querySelector("pre.shiki .line") !== null).length,
        images: Array.from(main.querySelectorAll("img")).filter(
          (image) => image.naturalWidth === 0 && image.complete
        ).length,
        over: document.documentElement.scrollWidth - innerWidth,
        prose: prose.innerText
      }
    })
    assert.strictEqual(seen.highlighted, seen.blocks)
    assert.strictEqual(seen.images, 0, "images that are broken")
    assert.notMatch(seen.prose, /```|\{\{|\]\(/, "Markdown that was not rendered")

    // Tables and code scroll by themselves, and the page does not.
    assert.isAtMost(seen.over, 0, "pixels beyond the width of a phone")
    assert.deepStrictEqual(complaints, [])
  })

  it("the sidebar leads from page to page without loading anew", async () => {
    await page.setViewportSize(desk)
    await open("/start.html")
    await page.evaluate(() => Object.assign(globalThis, { stayed: true }))
    await page.locator(".VPSidebar").getByRole("link", { name: "Failure domains", exact: true }).click()
    await page.locator("main h1", { hasText: "Failure domains" }).waitFor()
    assert.isTrue(await page.evaluate(() => "stayed" in globalThis))
    assert.deepStrictEqual(complaints, [])
  })

  it.each([
    ["probation", "Probation"],
    ["creditAtLeast", "creditAtLeast()"],
    ["LiteLLM", "From LiteLLM's router"]
  ])("a search for %s finds it", async (words, title) => {
    await page.setViewportSize(desk)
    await open("/start.html")
    await page.keyboard.press("Control+k")
    await page.locator("#localsearch-input").fill(words)
    const found = page.locator(".VPLocalSearchBox .result", { hasText: title }).first()
    await found.click()
    await page.waitForURL((url) => url.pathname !== "/start.html")
    await page.locator("main").getByText(title).first().waitFor()
    assert.deepStrictEqual(complaints, [])
  })

  it("is light or dark as the reader likes", async () => {
    await page.setViewportSize(desk)
    await page.emulateMedia({ colorScheme: "dark" })
    await open("/start.html")
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const dark = await background()
    await page.locator(".VPSwitchAppearance").first().click()
    await page.waitForFunction(() => !document.documentElement.classList.contains("dark"))
    assert.notStrictEqual(await background(), dark)
    await page.evaluate(() => localStorage.clear())
    await page.emulateMedia({ colorScheme: null })
  })

  it("an address that is none says so", async () => {
    assert.strictEqual(await open("/nowhere.html"), 404)
    await page.getByText("404").waitFor()
  })
})
