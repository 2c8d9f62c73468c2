/** The last line of every run, for people and for scripts. A suite that could not even run counts as one failure. */
export default class CountReporter {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    // Jest's own summary comes after all reporters.
    process.once('exit', () =>
      console.log(`${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped`),
    );
  }
}
