<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de" sourcelanguage="en">
 <context>
  <name>monitor</name>
  <message>
   <source>&amp;About</source>
   <translation>&amp;Über</translation>
  </message>
  <message>
   <source>&amp;Cluster</source>
   <translation>&amp;Cluster</translation>
  </message>
  <message>
   <source>&amp;Find</source>
   <translation>&amp;Suchen</translation>
  </message>
  <message>
   <source>&amp;Help</source>
   <translation>&amp;Hilfe</translation>
  </message>
  <message>
   <source>&amp;Look at …</source>
   <translation>&amp;Ansehen …</translation>
  </message>
  <message>
   <source>&amp;Quit</source>
   <translation>&amp;Beenden</translation>
  </message>
  <message>
   <source>&amp;Save the table …</source>
   <translation>Tabelle &amp;speichern …</translation>
  </message>
  <message>
   <source>&amp;View</source>
   <translation>&amp;Ansicht</translation>
  </message>
  <message>
   <source>10 min</source>
   <translation>10 min</translation>
  </message>
  <message>
   <source>2 h</source>
   <translation>2 h</translation>
  </message>
  <message>
   <source>7 days</source>
   <translation>7 Tage</translation>
  </message>
  <message>
   <source>Address</source>
   <translation>Adresse</translation>
  </message>
  <message>
   <source>Alerts</source>
   <translation>Warnungen</translation>
  </message>
  <message>
   <source>As the system</source>
   <translation>Wie das System</translation>
  </message>
  <message>
   <source>Attempts</source>
   <translation>Versuche</translation>
  </message>
  <message>
   <source>Attempts in this run</source>
   <translation>Versuche in diesem Lauf</translation>
  </message>
  <message>
   <source>Back to &amp;now</source>
   <translation>Zurück zu &amp;jetzt</translation>
  </message>
  <message>
   <source>Back to now (Ctrl+L)</source>
   <translation>Zurück zu jetzt (Strg+L)</translation>
  </message>
  <message>
   <source>Before</source>
   <translation>Zurück</translation>
  </message>
  <message>
   <source>CPU</source>
   <translation>CPU</translation>
  </message>
  <message>
   <source>Cancel</source>
   <translation>Abbrechen</translation>
  </message>
  <message>
   <source>Case</source>
   <translation>Testfall</translation>
  </message>
  <message>
   <source>Cases</source>
   <translation>Testfälle</translation>
  </message>
  <message>
   <source>Cases of {run}</source>
   <translation>Testfälle von {run}</translation>
  </message>
  <message>
   <source>Choose one in the view of runs, and press Enter.</source>
   <translation>In der Ansicht der Läufe einen auswählen und Enter drücken.</translation>
  </message>
  <message>
   <source>Choose one, or write where one is.</source>
   <translation>Einen auswählen oder schreiben, wo einer ist.</translation>
  </message>
  <message>
   <source>Clusters on this machine, and of late</source>
   <translation>Cluster auf dieser Maschine und zuletzt angesehene</translation>
  </message>
  <message>
   <source>Dark</source>
   <translation>Dunkel</translation>
  </message>
  <message>
   <source>Deadline slack</source>
   <translation>Luft bis zur Frist</translation>
  </message>
  <message>
   <source>Deadline slack: time left to begin</source>
   <translation>Luft bis zur Frist: Zeit, um zu beginnen</translation>
  </message>
  <message>
   <source>Deadlines met</source>
   <translation>Fristen gehalten</translation>
  </message>
  <message>
   <source>Done</source>
   <translation>Fertig</translation>
  </message>
  <message>
   <source>Earlier runs, this one last</source>
   <translation>Frühere Läufe, dieser zuletzt</translation>
  </message>
  <message>
   <source>Ending / s</source>
   <translation>Enden / s</translation>
  </message>
  <message>
   <source>Errors</source>
   <translation>Fehlerausgabe</translation>
  </message>
  <message>
   <source>Exception</source>
   <translation>Ausnahme</translation>
  </message>
  <message>
   <source>Find a case</source>
   <translation>Testfall suchen</translation>
  </message>
  <message>
   <source>Find a case (Ctrl+F)</source>
   <translation>Testfall suchen (Strg+F)</translation>
  </message>
  <message>
   <source>Find in what it wrote</source>
   <translation>In der Ausgabe suchen</translation>
  </message>
  <message>
   <source>Find in what it wrote (Ctrl+F)</source>
   <translation>In der Ausgabe suchen (Strg+F)</translation>
  </message>
  <message>
   <source>GPU</source>
   <translation>GPU</translation>
  </message>
  <message>
   <source>GPUs</source>
   <translation>GPUs</translation>
  </message>
  <message>
   <source>Host</source>
   <translation>Rechner</translation>
  </message>
  <message>
   <source>In all runs</source>
   <translation>In allen Läufen</translation>
  </message>
  <message>
   <source>In all runs, on all hardware</source>
   <translation>In allen Läufen, auf aller Hardware</translation>
  </message>
  <message>
   <source>It left nothing here.</source>
   <translation>Hier hat er nichts hinterlassen.</translation>
  </message>
  <message>
   <source>Kind</source>
   <translation>Art</translation>
  </message>
  <message>
   <source>Let it go on</source>
   <translation>Weiterlaufen lassen</translation>
  </message>
  <message>
   <source>Light</source>
   <translation>Hell</translation>
  </message>
  <message>
   <source>Log</source>
   <translation>Protokoll</translation>
  </message>
  <message>
   <source>Look</source>
   <translation>Ansehen</translation>
  </message>
  <message>
   <source>Look &amp;back</source>
   <translation>Zurück&amp;blicken</translation>
  </message>
  <message>
   <source>Look at a cluster</source>
   <translation>Einen Cluster ansehen</translation>
  </message>
  <message>
   <source>Looking back</source>
   <translation>Rückblick</translation>
  </message>
  <message>
   <source>Looking for clusters on this machine …</source>
   <translation>Cluster auf dieser Maschine werden gesucht …</translation>
  </message>
  <message>
   <source>Memory</source>
   <translation>Speicher</translation>
  </message>
  <message>
   <source>Next</source>
   <translation>Weiter</translation>
  </message>
  <message>
   <source>No case is chosen</source>
   <translation>Kein Testfall gewählt</translation>
  </message>
  <message>
   <source>No case is shown.</source>
   <translation>Kein Testfall ist zu sehen.</translation>
  </message>
  <message>
   <source>No case of this run has ended yet.</source>
   <translation>Noch ist kein Testfall dieses Laufs zu Ende.</translation>
  </message>
  <message>
   <source>No cluster shows itself on this machine. One does that is started with: dtf dev --web 8700</source>
   <translation>Auf dieser Maschine zeigt sich kein Cluster. Einer, der so gestartet wird, tut es: dtf dev --web 8700</translation>
  </message>
  <message>
   <source>No run is chosen.</source>
   <translation>Kein Lauf ist gewählt.</translation>
  </message>
  <message>
   <source>No run of tests was seen of late.</source>
   <translation>Zuletzt war kein Testlauf zu sehen.</translation>
  </message>
  <message>
   <source>No.</source>
   <translation>Nr.</translation>
  </message>
  <message>
   <source>Nothing has been heard yet.</source>
   <translation>Noch ist nichts bekannt.</translation>
  </message>
  <message>
   <source>Nothing is kept yet.</source>
   <translation>Noch ist nichts aufgehoben.</translation>
  </message>
  <message>
   <source>On this machine, and of late</source>
   <translation>Auf dieser Maschine und zuletzt</translation>
  </message>
  <message>
   <source>Or an address</source>
   <translation>Oder eine Adresse</translation>
  </message>
  <message>
   <source>Outcome</source>
   <translation>Ergebnis</translation>
  </message>
  <message>
   <source>Output</source>
   <translation>Ausgabe</translation>
  </message>
  <message>
   <source>Overview</source>
   <translation>Überblick</translation>
  </message>
  <message>
   <source>Queue by class</source>
   <translation>Warteschlange nach Klasse</translation>
  </message>
  <message>
   <source>Queue: tasks that wait, by class</source>
   <translation>Warteschlange: wartende Aufgaben, nach Klasse</translation>
  </message>
  <message>
   <source>Run</source>
   <translation>Lauf</translation>
  </message>
  <message>
   <source>Run of</source>
   <translation>Lauf vom</translation>
  </message>
  <message>
   <source>Running</source>
   <translation>Laufen</translation>
  </message>
  <message>
   <source>Runs</source>
   <translation>Läufe</translation>
  </message>
  <message>
   <source>Runs of late</source>
   <translation>Letzte Läufe</translation>
  </message>
  <message>
   <source>Save the &amp;run …</source>
   <translation>&amp;Lauf speichern …</translation>
  </message>
  <message>
   <source>Save the chart</source>
   <translation>Diagramm speichern</translation>
  </message>
  <message>
   <source>Save the chart …</source>
   <translation>Diagramm speichern …</translation>
  </message>
  <message>
   <source>Save the run</source>
   <translation>Lauf speichern</translation>
  </message>
  <message>
   <source>Save the table</source>
   <translation>Tabelle speichern</translation>
  </message>
  <message>
   <source>Saved: {path}</source>
   <translation>Gespeichert: {path}</translation>
  </message>
  <message>
   <source>Show only: {outcome}</source>
   <translation>Nur zeigen: {outcome}</translation>
  </message>
  <message>
   <source>Speed</source>
   <translation>Tempo</translation>
  </message>
  <message>
   <source>Started</source>
   <translation>Begonnen</translation>
  </message>
  <message>
   <source>Status</source>
   <translation>Stand</translation>
  </message>
  <message>
   <source>Suite</source>
   <translation>Suite</translation>
  </message>
  <message>
   <source>The change after</source>
   <translation>Die nächste Änderung</translation>
  </message>
  <message>
   <source>The change before</source>
   <translation>Die Änderung davor</translation>
  </message>
  <message>
   <source>There are no runs yet: `dtf run` and `pytest --dtf` make some.</source>
   <translation>Es gibt noch keine Läufe: `dtf run` und `pytest --dtf` machen welche.</translation>
  </message>
  <message>
   <source>There is no table here.</source>
   <translation>Hier ist keine Tabelle.</translation>
  </message>
  <message>
   <source>Threads taken</source>
   <translation>Threads belegt</translation>
  </message>
  <message>
   <source>Throughput</source>
   <translation>Durchsatz</translation>
  </message>
  <message>
   <source>Throughput: tasks that end in a second</source>
   <translation>Durchsatz: Aufgaben, die je Sekunde enden</translation>
  </message>
  <message>
   <source>Time shown: {span}</source>
   <translation>Gezeigte Zeit: {span}</translation>
  </message>
  <message>
   <source>Time that is looked at</source>
   <translation>Angesehene Zeit</translation>
  </message>
  <message>
   <source>Token</source>
   <translation>Token</translation>
  </message>
  <message>
   <source>Token, as the cluster gave it to you</source>
   <translation>Token, wie der Cluster es ausgegeben hat</translation>
  </message>
  <message>
   <source>Took</source>
   <translation>Dauer</translation>
  </message>
  <message>
   <source>Traceback</source>
   <translation>Traceback</translation>
  </message>
  <message>
   <source>Utilisation</source>
   <translation>Auslastung</translation>
  </message>
  <message>
   <source>Utilisation: what is taken</source>
   <translation>Auslastung: was belegt ist</translation>
  </message>
  <message>
   <source>Views</source>
   <translation>Ansichten</translation>
  </message>
  <message>
   <source>Waiting</source>
   <translation>Warten</translation>
  </message>
  <message>
   <source>What the attempt left</source>
   <translation>Was der Versuch hinterließ</translation>
  </message>
  <message>
   <source>Why</source>
   <translation>Warum</translation>
  </message>
  <message>
   <source>Worker</source>
   <translation>Worker</translation>
  </message>
  <message>
   <source>Workers</source>
   <translation>Worker</translation>
  </message>
  <message>
   <source>You look at {time}. What happens now is kept meanwhile. Back to now: Ctrl+L.</source>
   <translation>Zu sehen ist {time}. Was jetzt geschieht, wird so lange aufgehoben. Zurück zu jetzt: Strg+L.</translation>
  </message>
  <message>
   <source>begun</source>
   <translation>begonnen</translation>
  </message>
  <message>
   <source>busy, of {n}</source>
   <translation>beschäftigt, von {n}</translation>
  </message>
  <message>
   <source>closed</source>
   <translation>zu</translation>
  </message>
  <message>
   <source>critical</source>
   <translation>kritisch</translation>
  </message>
  <message>
   <source>done</source>
   <translation>erledigt</translation>
  </message>
  <message>
   <source>dtf monitor</source>
   <translation>dtf-Monitor</translation>
  </message>
  <message>
   <source>dtf monitor {version}</source>
   <translation>dtf-Monitor {version}</translation>
  </message>
  <message>
   <source>ended</source>
   <translation>beendet</translation>
  </message>
  <message>
   <source>error</source>
   <translation>Fehler</translation>
  </message>
  <message>
   <source>failed</source>
   <translation>fehlgeschlagen</translation>
  </message>
  <message>
   <source>flaky</source>
   <translation>wackelig</translation>
  </message>
  <message>
   <source>follower</source>
   <translation>folgt</translation>
  </message>
  <message>
   <source>found {n} times</source>
   <translation>{n}-mal gefunden</translation>
  </message>
  <message>
   <source>half-open</source>
   <translation>halb offen</translation>
  </message>
  <message>
   <source>interrupted</source>
   <translation>unterbrochen</translation>
  </message>
  <message>
   <source>it is not there</source>
   <translation>das steht dort nicht</translation>
  </message>
  <message>
   <source>leader</source>
   <translation>führt</translation>
  </message>
  <message>
   <source>left</source>
   <translation>gegangen</translation>
  </message>
  <message>
   <source>left to begin</source>
   <translation>bis zum Beginn</translation>
  </message>
  <message>
   <source>lost</source>
   <translation>verloren</translation>
  </message>
  <message>
   <source>memory</source>
   <translation>Speicher</translation>
  </message>
  <message>
   <source>no numbers yet</source>
   <translation>noch keine Zahlen</translation>
  </message>
  <message>
   <source>nobody leads</source>
   <translation>niemand führt</translation>
  </message>
  <message>
   <source>none is seen</source>
   <translation>keine zu sehen</translation>
  </message>
  <message>
   <source>none yet</source>
   <translation>noch keine</translation>
  </message>
  <message>
   <source>of all workers'</source>
   <translation>aller Worker</translation>
  </message>
  <message>
   <source>of {n}</source>
   <translation>von {n}</translation>
  </message>
  <message>
   <source>on {n} threads</source>
   <translation>auf {n} Threads</translation>
  </message>
  <message>
   <source>only the end of it is shown</source>
   <translation>nur das Ende ist zu sehen</translation>
  </message>
  <message>
   <source>open</source>
   <translation>offen</translation>
  </message>
  <message>
   <source>passed</source>
   <translation>bestanden</translation>
  </message>
  <message>
   <source>paused</source>
   <translation>pausiert</translation>
  </message>
  <message>
   <source>refused</source>
   <translation>abgelehnt</translation>
  </message>
  <message>
   <source>running</source>
   <translation>läuft</translation>
  </message>
  <message>
   <source>skipped</source>
   <translation>übersprungen</translation>
  </message>
  <message>
   <source>threads</source>
   <translation>Threads</translation>
  </message>
  <message>
   <source>timeout</source>
   <translation>Zeit überschritten</translation>
  </message>
  <message>
   <source>unknown</source>
   <translation>unbekannt</translation>
  </message>
  <message>
   <source>warning</source>
   <translation>Warnung</translation>
  </message>
  <message>
   <source>{glyph} {age} old</source>
   <translation>{glyph} {age} alt</translation>
  </message>
  <message>
   <source>{kind}: {n} passed, {m} not</source>
   <translation>{kind}: {n} bestanden, {m} nicht</translation>
  </message>
  <message>
   <source>{name} leads</source>
   <translation>{name} führt</translation>
  </message>
  <message>
   <source>{name}, on this machine: {where}</source>
   <translation>{name}, auf dieser Maschine: {where}</translation>
  </message>
  <message>
   <source>{n} are to be read</source>
   <translation>{n} sind zu lesen</translation>
  </message>
  <message>
   <source>{n} failed in all</source>
   <translation>{n} insgesamt fehlgeschlagen</translation>
  </message>
  <message>
   <source>{n} held back</source>
   <translation>{n} zurückgehalten</translation>
  </message>
  <message>
   <source>{n} lost of late</source>
   <translation>{n} zuletzt verloren</translation>
  </message>
  <message>
   <source>{n} missed</source>
   <translation>{n} verpasst</translation>
  </message>
  <message>
   <source>{n} of {m}</source>
   <translation>{n} von {m}</translation>
  </message>
  <message>
   <source>{n} of {m} cases</source>
   <translation>{n} von {m} Testfällen</translation>
  </message>
  <message>
   <source>{path} cannot be written</source>
   <translation>{path} kann nicht geschrieben werden</translation>
  </message>
  <message>
   <source>{run}: {n} of {m} cases are read</source>
   <translation>{run}: {n} von {m} Testfällen gelesen</translation>
  </message>
  <message>
   <source>{span} are kept</source>
   <translation>{span} sind aufgehoben</translation>
  </message>
  <message>
   <source>{suite}, run {run}</source>
   <translation>{suite}, Lauf {run}</translation>
  </message>
  <message>
   <source>{time}, {ago} ago</source>
   <translation>{time}, vor {ago}</translation>
  </message>
  <message>
   <source>{where}: {why}. Another address: Ctrl+O.</source>
   <translation>{where}: {why}. Eine andere Adresse: Strg+O.</translation>
  </message>
  <message>
   <source>… and {n} more</source>
   <translation>… und {n} weitere</translation>
  </message>
  <message>
   <source>○ Looking for a cluster …</source>
   <translation>○ Ein Cluster wird gesucht …</translation>
  </message>
  <message>
   <source>○ {where}: {why}</source>
   <translation>○ {where}: {why}</translation>
  </message>
  <message>
   <source>● Live from {where}</source>
   <translation>● Live von {where}</translation>
  </message>
  <message>
   <source>◐ Connecting to {where} …</source>
   <translation>◐ Verbindung mit {where} …</translation>
  </message>
  <message>
   <source>◐ {where}: {why}</source>
   <translation>◐ {where}: {why}</translation>
  </message>
  <message>
   <source>✓ Nothing is wrong.</source>
   <translation>✓ Alles in Ordnung.</translation>
  </message>
 </context>
</TS>
