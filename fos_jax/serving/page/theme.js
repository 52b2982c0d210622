// Before the page is drawn, so that it never flashes in the other theme.
document.documentElement.dataset.theme =
  localStorage.getItem("fos.theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
