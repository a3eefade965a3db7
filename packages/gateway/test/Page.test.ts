// The live page in a real browser.
import { assert, describe, it, layer, vi } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { BrowserContext, Page } from "playwright-core"
import { script } from "../src/internal/page/script.ts"
import { Chromium, executablePath, layer as browserLayer } from "./browser.ts"
import { inWorld, messages, model, token, type Setup, type World } from "./utils.ts"

const hostile = `<img src=x onerror="document.title='owned'"><b>"bold"</b>`

interface Visit extends World {
  readonly page: Page
  readonly context: BrowserContext
  /** What went wrong in the page: errors, and what its policy has refused. */
  readonly complaints: Array<string>
  readonly requested: Array<string>
}

const visit = (setup: Setup, test: (visit: Visit) => Promise<void>) =>
  Effect.flatMap(Chromium, (browser) =>
    inWorld(setup, async (world) => {
      const context = await browser.newContext({ locale: "en-US" })
      try {
        const page = await context.newPage()
        const complaints: Array<string> = []
        const requested: Array<string> = []
        page.on("pageerror", ({ message }) => complaints.push(message))
        page.on("console", (message) => {
          if (message.type() === "error") complaints.push(message.text())
        })
        context.on("request", (request) => requested.push(request.url()))
        await page.goto(world.url)
        await test({ ...world, context, page, complaints, requested })
      } finally {
        await context.close()
      }
    })
  )

const says = (page: Page, text: string | RegExp) => page.getByText(text).first().waitFor()

const state = (page: Page, key: string) =>
  page
    .locator("#keys tbody tr")
    .filter({ has: page.getByRole("rowheader", { name: key }) })
    .locator("td")
    .first()

/** Pairs of colours whose contrast is below what WCAG 2.2 asks of text (4.5 to 1). */
const faint = (page: Page): Promise<ReadonlyArray<string>> =>
  page.evaluate(() => {
    const rgb = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number)
    const light = (color: string) => {
      const [r, g, b] = rgb(color)
        .slice(0, 3)
        .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
      return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
    }
    const ground = (element: Element | null): string => {
      if (element === null) return "rgb(255, 255, 255)"
      const { backgroundColor } = getComputedStyle(element)
      return rgb(backgroundColor)[3] === 0 ? ground(element.parentElement) : backgroundColor
    }
    return Array.from(document.querySelectorAll("body *"))
      .filter(
        (element) =>
          element.checkVisibility() &&
          Array.from(element.childNodes).some(
            (node) => node.nodeType === 3 && node.textContent!.trim() !== ""
          )
      )
      .flatMap((element) => {
        const [a, b] = [light(getComputedStyle(element).color), light(ground(element))]
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
        return contrast < 4.5 ? [`${element.tagName} ${element.textContent} ${contrast}`] : []
      })
  })

// On a machine under load a browser is slow; that is no failure of the page.
vi.setConfig({ testTimeout: 120_000 })

describe.skipIf(executablePath === undefined)("the live page in a browser (needs chromium)", () => {
  layer(browserLayer, { excludeTestServices: true, timeout: "90 seconds" })((it) => {
    it.effect("shows keys, traffic, credit and benches as they change, and nothing that is not its own", () =>
      visit(
        {
          simulator: {
            keys: [{ name: "atlas", limit: 5, usage: 1 }, { name: "boreas" }, { name: "hostile" }]
          },
          traits: { hostile: { id: hostile } },
          openrouter: { credits: {} }
        },
        async ({ complaints, page, pool, post, requested, run, simulator, url }) => {
          await says(page, "Ready")
          await says(page, "$4.00 of $5.00")
          assert.strictEqual(
            await page.locator("#keys meter").evaluate((m) => (m as HTMLMeterElement).value),
            4
          )
          assert.strictEqual(await state(page, "boreas").innerText(), "ready")

          // What a name says is text.
          await page.getByRole("rowheader", { name: hostile }).waitFor()
          assert.strictEqual(await page.locator("img, #keys b").count(), 0)
          assert.strictEqual(await page.title(), "Evenkeel gateway")

          for (const stream of [false, true]) {
            await (await post("/v1/chat/completions", { model, messages, stream })).text()
          }
          await (await post("/v1/chat/completions", { model: hostile, messages })).text()
          await says(page, "chat/completions, streamed")
          await says(page, "400 model-not-found")
          await page.locator("#recent").getByText(hostile).first().waitFor()
          await says(page, "1 of 3")

          await run(pool.bench({ scope: "key", id: "boreas", reason: "throttled", for: "90 seconds" }))
          await run(pool.bench({ scope: "upstream", id: hostile, reason: "unavailable", for: "50 seconds" }))
          await page.getByText(/^back in \d+ s$/).waitFor()
          assert.match(await state(page, "boreas").innerText(), /^throttled\n?back in/)
          await says(page, "Ready, with 2 of 3 keys")
          await says(page, "boreas is benched: throttled")
          await page.locator("#benches").getByText(`upstream ${hostile}: unavailable`).waitFor()
          // The countdown counts down.
          const left = await state(page, "boreas").innerText()
          await page.waitForFunction(
            (before) => !document.body.innerText.includes(before),
            left.split("\n").at(-1)!
          )

          await run(pool.readmit("key", "boreas"))
          await says(page, "boreas is back")

          const all = await page.content()
          for (const { secret } of simulator.keys) assert.notInclude(all, Redacted.value(secret))
          assert.deepStrictEqual(complaints, [])
          for (const address of requested) assert.strictEqual(new URL(address).origin, url)
        }
      )
    )

    it.effect("asks for the token once, keeps it in its tab, and never puts it into an address", () =>
      visit({ gateway: { tokens: [Redacted.make(token)] } }, async ({ context, page, requested, url }) => {
        await says(page, "A token is needed")
        await page.getByLabel("Client token").fill("not-the-token-at-all")
        await page.getByRole("button", { name: "Show" }).click()
        await says(page, "This token is none")
        assert.isFalse(await page.locator("main").isVisible())
        await page.getByLabel("Client token").fill(token)
        await page.keyboard.press("Enter")
        await says(page, "Ready")
        assert.isFalse(await page.getByLabel("Client token").isVisible())
        await page.reload()
        await says(page, "Ready")
        assert.strictEqual(page.url(), `${url}/`)
        for (const address of requested) assert.notInclude(address, token)
        const other = await context.newPage()
        await other.goto(url)
        await says(other, "A token is needed")
      })
    )

    it.effect("can be read on a narrow screen, in the light and in the dark", () =>
      visit(
        { traits: { "key-1": { id: "a-key-with-a-rather-long-name-that-has-no-place-to-be-broken" } } },
        async (world) => {
          const { page, pool, post, run } = world
          await (await post("/v1/chat/completions", { model, messages })).text()
          await (await post("/v1/chat/completions", { model: "no/such", messages })).text()
          await run(pool.bench({ scope: "key", id: "key-2", reason: "rejected", for: "50 seconds" }))
          await run(pool.drain("key-3"))
          await says(page, "400 model-not-found")
          await says(page, "draining")
          for (const width of [1200, 320]) {
            await page.setViewportSize({ width, height: 800 })
            const wide = await page.evaluate(() => document.documentElement.scrollWidth)
            assert.isAtMost(wide, width)
            for (const colorScheme of ["light", "dark"] as const) {
              await page.emulateMedia({ colorScheme })
              assert.deepStrictEqual(await faint(page), [])
            }
          }
        }
      )
    )

    it.effect("says when it has lost the gateway", () =>
      visit({}, async ({ gateway, page, run }) => {
        await says(page, "Ready")
        await run(gateway.drain)
        await says(page, "Not connected, trying again")
      })
    )
  })
})

describe("the script of the page", () => {
  it("type-checks as what browsers run", () => {
    const folder = mkdtempSync(join(tmpdir(), "evenkeel-page-"))
    try {
      writeFileSync(join(folder, "page.js"), script)
      const options = [
        "--strict",
        "--checkJs",
        "--noEmit",
        "--target",
        "es2023",
        "--lib",
        "es2023,dom,dom.iterable,dom.asynciterable"
      ]
      const tsc = join(import.meta.dirname, "../../../node_modules/.bin/tsc")
      execFileSync(tsc, ["--ignoreConfig", ...options, "page.js"], { cwd: folder, encoding: "utf8" })
    } catch (error) {
      assert.strictEqual((error as { readonly stdout?: string }).stdout, "")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
