// Before the first paint, so a chosen theme never flashes; a separate file because inline scripts are not allowed.
document.documentElement.dataset.theme = localStorage.getItem("imagefinder.theme") || "auto";
