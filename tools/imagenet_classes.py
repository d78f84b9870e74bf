"""ImageNet classes that a network may give to the photographs in examples/ (index of the class: its name)."""

EXPECTED = {
    "pictures/cat.jpg": {281: "tabby", 282: "tiger cat", 285: "Egyptian cat"},
    "pictures/clock.jpg": {409: "analog clock", 892: "wall clock"},
    "pictures/coffee.jpg": {504: "coffee mug", 967: "espresso", 968: "cup"},
    "pictures/cameraman.jpg": {872: "tripod"},
    "pictures/dogs.jpg": dict.fromkeys(range(151, 269), "a breed of dogs"),
    "pictures/drum.jpg": {541: "drum"},
    "pictures/motorcycle.jpg": {665: "moped", 670: "motor scooter"},
    "pictures/mountain-path.jpg": {970: "alp", 979: "valley"},
    "pictures/rocket.jpg": {657: "missile", 744: "projectile", 812: "space shuttle"},
    "pictures/stream.jpg": {979: "valley"},
    "queries/brushes.jpg": {696: "paintbrush"},
    "queries/motorcycle-second-view.jpg": {665: "moped", 670: "motor scooter"},
}
