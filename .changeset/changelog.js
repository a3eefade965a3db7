// All packages have one version: what they name of each other is always updated, and only what has changed is worth a line.
export default {
  getReleaseLine: ({ summary }) => Promise.resolve(`- ${summary.replaceAll("\n", "\n  ")}`),
  getDependencyReleaseLine: () => Promise.resolve("")
}
