/**
 * A real browser for the tests of the page: Debian's Chromium, or what `CHROMIUM` names, driven by playwright-core.
 */
import { Context, Effect, Layer } from "effect"
import { existsSync } from "node:fs"
import { chromium, type Browser } from "playwright-core"

/** Where the browser is; `undefined` if there is none, and then its tests are skipped. */
export const executablePath: string | undefined = [
  process.env["CHROMIUM"],
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome"
].find((path) => path !== undefined && existsSync(path))

/** A browser that has never been used, and calls nobody. */
export const Chromium = Context.Service<Browser, Browser>("@evenkeel/gateway/test/Chromium")

export const layer: Layer.Layer<Browser> = Layer.effect(
  Chromium,
  Effect.acquireRelease(
    Effect.promise(() =>
      chromium.launch({
        executablePath: executablePath!,
        headless: true,
        timeout: 60_000,
        args: [
          "--no-sandbox",
          "--disable-gpu",
          "--disable-quic",
          "--no-first-run",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync"
        ]
      })
    ),
    (browser) => Effect.promise(() => browser.close())
  )
)
