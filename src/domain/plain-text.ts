/** Whether a text can be kept and compared as it is: PostgreSQL knows no NUL, and half a surrogate pair is no character. */
export function isPlainText(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}
