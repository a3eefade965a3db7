/**
 * Tables and bars in plain text. What comes from outside is escaped: an account may be called anything.
 */
import * as CliOutput from "effect/cli/CliOutput"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"

/** Marks on text, for terminals that show them. */
export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
  /** The best of several: told without colour too, because nothing else says it. */
  readonly best: (text: string) => string
}

/** Marks nothing. */
export const plain: Style = {
  bold: (text) => text,
  dim: (text) => text,
  good: (text) => text,
  bad: (text) => text,
  best: (text) => `* ${text}`
}

const sgr = (code: number) => (text: string) => `\x1b[${code}m${text}\x1b[0m`
const coloured: Style = { bold: sgr(1), dim: sgr(2), good: sgr(32), bad: sgr(31), best: sgr(32) }

/** In colour where standard output is a terminal and `NO_COLOR` is not set. */
export const style: Effect.Effect<Style> = TerminalCapabilities.use(({ canColor }) =>
  Effect.succeed(canColor ? coloured : plain)
)

export interface Column {
  readonly title: string
  readonly align?: "left" | "right"
}

/** Columns two blanks apart, under their titles. */
export const table = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  { dim }: Style
): string => {
  const safe = rows.map((row) => row.map(printable))
  const widths = columns.map(({ title }, i) =>
    Math.max(CliOutput.displayWidth(title), ...safe.map((row) => CliOutput.displayWidth(row[i] ?? "")))
  )
  const line = (cells: ReadonlyArray<string>) =>
    columns
      .map(({ align }, i) => {
        const cell = cells[i] ?? ""
        const space = " ".repeat(widths[i]! - CliOutput.displayWidth(cell))
        return align === "right" ? space + cell : cell + space
      })
      .join("  ")
      .trimEnd()
  return [dim(line(columns.map(({ title }) => title))), ...safe.map(line)].join("\n")
}

const escape = "\x1b"

/** Without control characters, besides the marks that we have made ourselves. */
const printable = (text: string): string =>
  text
    .split(new RegExp(`(${escape}\\[\\d+m)`))
    .map((part) =>
      /^.\[\d+m$/u.test(part) && part.startsWith(escape) ? part : part.replaceAll(/\p{Cc}/gu, "?")
    )
    .join("")

const blocks = "▁▂▃▄▅▆▇█"

/** Values side by side, from 0 to the greatest: one character each. */
export const sparkline = (values: ReadonlyArray<number>): string => {
  const most = Math.max(...values)
  return values.map((value) => blocks[most > 0 ? Math.min(7, Math.floor((8 * value) / most)) : 0]).join("")
}

/** A part of a whole, `width` characters wide. */
export const bar = (part: number, width: number): string => {
  const filled = Math.round(width * Math.min(1, Math.max(0, part)))
  return "█".repeat(filled) + "░".repeat(width - filled)
}
