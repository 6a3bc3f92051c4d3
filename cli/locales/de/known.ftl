# Was jemand hört, der einen Task nennt, den es nicht gibt.
known-nearest = es gibt keinen Task `{ $word }`: war `{ $name }` gemeint?
known-all = es gibt keinen Task `{ $word }`: es gibt { $all }
known-none = es gibt keinen Task `{ $word }`: unter { $folder } ist keiner
