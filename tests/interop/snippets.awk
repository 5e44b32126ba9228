# Extracts the fenced code blocks of Markdown pages that have a file name after the language, such
# as "```js node/verify.js", into files of these names, in folders that it makes.
# Usage: awk -v into=FOLDER -f snippets.awk page.md…
/^```/ {
  file = (file == "" && NF == 2) ? into "/" $2 : ""
  if (file ~ /\//) {
    folder = file
    sub(/\/[^\/]*$/, "", folder)
    system("mkdir -p '" folder "'")
  }
  next
}
file != "" { print > file }
