# Extracts the fenced code blocks of a Markdown page that have a file name after the language, such
# as "```js verify.js", into files of these names.
# Usage: awk -v into=FOLDER -f snippets.awk page.md
/^```/ {
  file = (file == "" && NF == 2) ? into "/" $2 : ""
  next
}
file != "" { print > file }
