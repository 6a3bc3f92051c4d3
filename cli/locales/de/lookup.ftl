# Was jemand hört, der eine Aufgabe nennt, die es nicht gibt.
lookup-nearest = die Aufgabe `{ $word }` gibt es nicht: war `{ $name }` gemeint?
lookup-all = die Aufgabe `{ $word }` gibt es nicht: es gibt { $all }
lookup-none = die Aufgabe `{ $word }` gibt es nicht: unter { $folder } ist keine
