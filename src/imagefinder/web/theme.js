// Before the first paint, so a chosen theme never flashes; a file of its own because inline scripts are not allowed.
document.documentElement.dataset.theme = localStorage.getItem("imagefinder.theme") || "auto";
