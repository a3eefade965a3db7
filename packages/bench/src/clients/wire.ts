/**
 * Answers as the hand-written clients read them.
 */
interface Wire {
  readonly choices: ReadonlyArray<{
    readonly message?: { readonly content?: string }
    readonly delta?: { readonly content?: string }
  }>
}

export const textOf = (answer: unknown): string => (answer as Wire).choices[0]?.message?.content ?? ""

export const deltaOf = (data: string): string =>
  data === "[DONE]" ? "" : ((JSON.parse(data) as Wire).choices[0]?.delta?.content ?? "")

/** The least that reads events: lines of data, cut at blank lines. */
export const textsOf = (first?: () => void) => {
  const decoder = new TextDecoder()
  let rest = ""
  let all = ""
  return {
    push: (bytes: Uint8Array): void => {
      const events = (rest + decoder.decode(bytes, { stream: true })).split("\n\n")
      rest = events.pop() ?? ""
      for (const event of events) {
        if (all === "") first?.()
        all += deltaOf(event.slice("data: ".length))
      }
    },
    text: () => all
  }
}
