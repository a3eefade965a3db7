/**
 * The live page: one document without a secret in it, that loads nothing from anywhere.
 */
import * as Effect from "effect/Effect"
import { HttpServerResponse } from "effect/http"
import { createHash } from "node:crypto"
import { markup } from "./page/markup.ts"
import { script } from "./page/script.ts"
import { style } from "./page/style.ts"

const sha256 = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** Only this script and this style run, and they speak to this server alone; nothing is ever made of text but text. */
const policy = [
  "default-src 'none'",
  `script-src ${sha256(script)}`,
  `style-src ${sha256(style)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join("; ")

const response = HttpServerResponse.text(
  markup.replace("/* style */", () => style).replace("/* script */", () => script),
  {
    contentType: "text/html; charset=utf-8",
    headers: {
      "cache-control": "no-cache",
      "content-security-policy": policy,
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY"
    }
  }
)

/** `GET /`. */
export const page = Effect.succeed(response)
