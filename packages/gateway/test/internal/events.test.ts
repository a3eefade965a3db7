import { assert, describe, it } from "@effect/vitest"
import { WholeEvents } from "../../src/internal/events.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

describe("WholeEvents", () => {
  for (const [name, end] of [
    ["LF", "\n"],
    ["CRLF", "\r\n"],
    ["CR", "\r"]
  ] as const) {
    it(`lets nothing but whole events pass, however they are cut, with ${name}`, () => {
      const text = [": a comment", "", 'data: {"a":1}', "", "event: x", "data: ü€", "", "data: half"].join(
        end
      )
      const bytes = encoder.encode(text)
      for (let size = 1; size <= bytes.length; size++) {
        const whole = new WholeEvents()
        let passed = ""
        for (let at = 0; at < bytes.length; at += size) {
          const out = decoder.decode(whole.push(bytes.subarray(at, at + size)))
          if (out !== "") assert.match(out, /(\r\n|\n|\r)$/)
          passed += out
        }
        assert.strictEqual(passed.trimEnd(), text.slice(0, text.lastIndexOf("data: half")).trimEnd())
        assert.strictEqual(passed + decoder.decode(whole.rest()), text)
      }
    })
  }
})
