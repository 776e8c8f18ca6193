<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="fr" sourcelanguage="en">
 <context>
  <name>monitor</name>
  <message>
   <source>&amp;About</source>
   <translation>À &amp;propos</translation>
  </message>
  <message>
   <source>&amp;Cluster</source>
   <translation>&amp;Grappe</translation>
  </message>
  <message>
   <source>&amp;Find</source>
   <translation>&amp;Rechercher</translation>
  </message>
  <message>
   <source>&amp;Help</source>
   <translation>&amp;Aide</translation>
  </message>
  <message>
   <source>&amp;Look at …</source>
   <translation>&amp;Observer …</translation>
  </message>
  <message>
   <source>&amp;Quit</source>
   <translation>&amp;Quitter</translation>
  </message>
  <message>
   <source>&amp;Save the table …</source>
   <translation>&amp;Enregistrer le tableau …</translation>
  </message>
  <message>
   <source>&amp;View</source>
   <translation>&amp;Affichage</translation>
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
   <translation>7 jours</translation>
  </message>
  <message>
   <source>Address</source>
   <translation>Adresse</translation>
  </message>
  <message>
   <source>Alerts</source>
   <translation>Alertes</translation>
  </message>
  <message>
   <source>As the system</source>
   <translation>Comme le système</translation>
  </message>
  <message>
   <source>Attempts</source>
   <translation>Tentatives</translation>
  </message>
  <message>
   <source>Attempts in this run</source>
   <translation>Tentatives dans cette exécution</translation>
  </message>
  <message>
   <source>Back to &amp;now</source>
   <translation>Revenir à &amp;maintenant</translation>
  </message>
  <message>
   <source>Back to now (Ctrl+L)</source>
   <translation>Revenir à maintenant (Ctrl+L)</translation>
  </message>
  <message>
   <source>Before</source>
   <translation>Précédent</translation>
  </message>
  <message>
   <source>CPU</source>
   <translation>CPU</translation>
  </message>
  <message>
   <source>Cancel</source>
   <translation>Annuler</translation>
  </message>
  <message>
   <source>Case</source>
   <translation>Cas</translation>
  </message>
  <message>
   <source>Cases</source>
   <translation>Cas</translation>
  </message>
  <message>
   <source>Cases of {run}</source>
   <translation>Cas de {run}</translation>
  </message>
  <message>
   <source>Choose one in the view of runs, and press Enter.</source>
   <translation>En choisir un dans la vue des exécutions, puis appuyer sur Entrée.</translation>
  </message>
  <message>
   <source>Choose one, or write where one is.</source>
   <translation>En choisir une, ou écrire où elle se trouve.</translation>
  </message>
  <message>
   <source>Clusters on this machine, and of late</source>
   <translation>Grappes de cette machine, et récentes</translation>
  </message>
  <message>
   <source>Dark</source>
   <translation>Sombre</translation>
  </message>
  <message>
   <source>Deadline slack</source>
   <translation>Marge avant échéance</translation>
  </message>
  <message>
   <source>Deadline slack: time left to begin</source>
   <translation>Marge avant échéance : temps pour commencer</translation>
  </message>
  <message>
   <source>Deadlines met</source>
   <translation>Échéances tenues</translation>
  </message>
  <message>
   <source>Done</source>
   <translation>Fait</translation>
  </message>
  <message>
   <source>Earlier runs, this one last</source>
   <translation>Exécutions passées, celle-ci en dernier</translation>
  </message>
  <message>
   <source>Ending / s</source>
   <translation>Finies / s</translation>
  </message>
  <message>
   <source>Errors</source>
   <translation>Erreurs</translation>
  </message>
  <message>
   <source>Exception</source>
   <translation>Exception</translation>
  </message>
  <message>
   <source>Find a case</source>
   <translation>Chercher un cas</translation>
  </message>
  <message>
   <source>Find a case (Ctrl+F)</source>
   <translation>Chercher un cas (Ctrl+F)</translation>
  </message>
  <message>
   <source>Find in what it wrote</source>
   <translation>Chercher dans sa sortie</translation>
  </message>
  <message>
   <source>Find in what it wrote (Ctrl+F)</source>
   <translation>Chercher dans sa sortie (Ctrl+F)</translation>
  </message>
  <message>
   <source>GPU</source>
   <translation>GPU</translation>
  </message>
  <message>
   <source>GPUs</source>
   <translation>GPU</translation>
  </message>
  <message>
   <source>Host</source>
   <translation>Hôte</translation>
  </message>
  <message>
   <source>In all runs</source>
   <translation>Dans toutes les exécutions</translation>
  </message>
  <message>
   <source>In all runs, on all hardware</source>
   <translation>Dans toutes les exécutions, sur tout matériel</translation>
  </message>
  <message>
   <source>It left nothing here.</source>
   <translation>Elle n'a rien laissé ici.</translation>
  </message>
  <message>
   <source>Kind</source>
   <translation>Type</translation>
  </message>
  <message>
   <source>Let it go on</source>
   <translation>Laisser avancer</translation>
  </message>
  <message>
   <source>Light</source>
   <translation>Clair</translation>
  </message>
  <message>
   <source>Log</source>
   <translation>Journal</translation>
  </message>
  <message>
   <source>Look</source>
   <translation>Observer</translation>
  </message>
  <message>
   <source>Look &amp;back</source>
   <translation>Regarder en a&amp;rrière</translation>
  </message>
  <message>
   <source>Look at a cluster</source>
   <translation>Observer une grappe</translation>
  </message>
  <message>
   <source>Looking back</source>
   <translation>Regard en arrière</translation>
  </message>
  <message>
   <source>Looking for clusters on this machine …</source>
   <translation>Recherche de grappes sur cette machine …</translation>
  </message>
  <message>
   <source>Memory</source>
   <translation>Mémoire</translation>
  </message>
  <message>
   <source>Next</source>
   <translation>Suivant</translation>
  </message>
  <message>
   <source>No case is chosen</source>
   <translation>Aucun cas choisi</translation>
  </message>
  <message>
   <source>No case is shown.</source>
   <translation>Aucun cas n'est montré.</translation>
  </message>
  <message>
   <source>No case of this run has ended yet.</source>
   <translation>Aucun cas de cette exécution n'est encore terminé.</translation>
  </message>
  <message>
   <source>No cluster shows itself on this machine. One does that is started with: dtf dev --web 8700</source>
   <translation>Aucune grappe ne se montre sur cette machine. Pour en lancer une qui le fait : dtf dev --web 8700</translation>
  </message>
  <message>
   <source>No run is chosen.</source>
   <translation>Aucune exécution n'est choisie.</translation>
  </message>
  <message>
   <source>No run of tests was seen of late.</source>
   <translation>Aucune exécution de tests n'a été vue récemment.</translation>
  </message>
  <message>
   <source>No.</source>
   <translation>N°</translation>
  </message>
  <message>
   <source>Nothing has been heard yet.</source>
   <translation>Rien n'est encore connu.</translation>
  </message>
  <message>
   <source>Nothing is kept yet.</source>
   <translation>Rien n'est encore conservé.</translation>
  </message>
  <message>
   <source>On this machine, and of late</source>
   <translation>Sur cette machine, et récemment</translation>
  </message>
  <message>
   <source>Or an address</source>
   <translation>Ou une adresse</translation>
  </message>
  <message>
   <source>Outcome</source>
   <translation>Résultat</translation>
  </message>
  <message>
   <source>Output</source>
   <translation>Sortie</translation>
  </message>
  <message>
   <source>Overview</source>
   <translation>Vue d'ensemble</translation>
  </message>
  <message>
   <source>Queue by class</source>
   <translation>File par classe</translation>
  </message>
  <message>
   <source>Queue: tasks that wait, by class</source>
   <translation>File : tâches en attente, par classe</translation>
  </message>
  <message>
   <source>Run</source>
   <translation>Exécution</translation>
  </message>
  <message>
   <source>Run of</source>
   <translation>Exécution du</translation>
  </message>
  <message>
   <source>Running</source>
   <translation>En cours</translation>
  </message>
  <message>
   <source>Runs</source>
   <translation>Exécutions</translation>
  </message>
  <message>
   <source>Runs of late</source>
   <translation>Exécutions récentes</translation>
  </message>
  <message>
   <source>Save the &amp;run …</source>
   <translation>Enregistrer l'e&amp;xécution …</translation>
  </message>
  <message>
   <source>Save the chart</source>
   <translation>Enregistrer le graphique</translation>
  </message>
  <message>
   <source>Save the chart …</source>
   <translation>Enregistrer le graphique …</translation>
  </message>
  <message>
   <source>Save the run</source>
   <translation>Enregistrer l'exécution</translation>
  </message>
  <message>
   <source>Save the table</source>
   <translation>Enregistrer le tableau</translation>
  </message>
  <message>
   <source>Saved: {path}</source>
   <translation>Enregistré : {path}</translation>
  </message>
  <message>
   <source>Show only: {outcome}</source>
   <translation>Montrer seulement : {outcome}</translation>
  </message>
  <message>
   <source>Speed</source>
   <translation>Vitesse</translation>
  </message>
  <message>
   <source>Started</source>
   <translation>Début</translation>
  </message>
  <message>
   <source>Status</source>
   <translation>État</translation>
  </message>
  <message>
   <source>Suite</source>
   <translation>Suite</translation>
  </message>
  <message>
   <source>The change after</source>
   <translation>Le changement suivant</translation>
  </message>
  <message>
   <source>The change before</source>
   <translation>Le changement précédent</translation>
  </message>
  <message>
   <source>There are no runs yet: `dtf run` and `pytest --dtf` make some.</source>
   <translation>Il n'y a pas encore d'exécution : `dtf run` et `pytest --dtf` en font.</translation>
  </message>
  <message>
   <source>There is no table here.</source>
   <translation>Il n'y a pas de tableau ici.</translation>
  </message>
  <message>
   <source>Threads taken</source>
   <translation>Threads pris</translation>
  </message>
  <message>
   <source>Throughput</source>
   <translation>Débit</translation>
  </message>
  <message>
   <source>Throughput: tasks that end in a second</source>
   <translation>Débit : tâches finies par seconde</translation>
  </message>
  <message>
   <source>Time shown: {span}</source>
   <translation>Durée montrée : {span}</translation>
  </message>
  <message>
   <source>Time that is looked at</source>
   <translation>Instant observé</translation>
  </message>
  <message>
   <source>Token</source>
   <translation>Jeton</translation>
  </message>
  <message>
   <source>Token, as the cluster gave it to you</source>
   <translation>Jeton, tel que la grappe vous l’a donné</translation>
  </message>
  <message>
   <source>Took</source>
   <translation>Durée</translation>
  </message>
  <message>
   <source>Traceback</source>
   <translation>Traceback</translation>
  </message>
  <message>
   <source>Utilisation</source>
   <translation>Utilisation</translation>
  </message>
  <message>
   <source>Utilisation: what is taken</source>
   <translation>Utilisation : ce qui est pris</translation>
  </message>
  <message>
   <source>Views</source>
   <translation>Vues</translation>
  </message>
  <message>
   <source>Waiting</source>
   <translation>En attente</translation>
  </message>
  <message>
   <source>What the attempt left</source>
   <translation>Ce que la tentative a laissé</translation>
  </message>
  <message>
   <source>Why</source>
   <translation>Pourquoi</translation>
  </message>
  <message>
   <source>Worker</source>
   <translation>Worker</translation>
  </message>
  <message>
   <source>Workers</source>
   <translation>Workers</translation>
  </message>
  <message>
   <source>You look at {time}. What happens now is kept meanwhile. Back to now: Ctrl+L.</source>
   <translation>Vous regardez {time}. Ce qui se passe maintenant est conservé. Revenir à maintenant : Ctrl+L.</translation>
  </message>
  <message>
   <source>begun</source>
   <translation>commencé</translation>
  </message>
  <message>
   <source>busy, of {n}</source>
   <translation>occupés, sur {n}</translation>
  </message>
  <message>
   <source>closed</source>
   <translation>fermé</translation>
  </message>
  <message>
   <source>critical</source>
   <translation>critique</translation>
  </message>
  <message>
   <source>done</source>
   <translation>fait</translation>
  </message>
  <message>
   <source>dtf monitor</source>
   <translation>moniteur dtf</translation>
  </message>
  <message>
   <source>dtf monitor {version}</source>
   <translation>moniteur dtf {version}</translation>
  </message>
  <message>
   <source>ended</source>
   <translation>finies</translation>
  </message>
  <message>
   <source>error</source>
   <translation>erreur</translation>
  </message>
  <message>
   <source>failed</source>
   <translation>échec</translation>
  </message>
  <message>
   <source>flaky</source>
   <translation>instable</translation>
  </message>
  <message>
   <source>follower</source>
   <translation>suit</translation>
  </message>
  <message>
   <source>found {n} times</source>
   <translation>trouvé {n} fois</translation>
  </message>
  <message>
   <source>half-open</source>
   <translation>mi-ouvert</translation>
  </message>
  <message>
   <source>interrupted</source>
   <translation>interrompu</translation>
  </message>
  <message>
   <source>it is not there</source>
   <translation>ce n'y est pas</translation>
  </message>
  <message>
   <source>leader</source>
   <translation>mène</translation>
  </message>
  <message>
   <source>left</source>
   <translation>parti</translation>
  </message>
  <message>
   <source>left to begin</source>
   <translation>avant le début</translation>
  </message>
  <message>
   <source>lost</source>
   <translation>perdu</translation>
  </message>
  <message>
   <source>memory</source>
   <translation>mémoire</translation>
  </message>
  <message>
   <source>no numbers yet</source>
   <translation>pas encore de chiffres</translation>
  </message>
  <message>
   <source>nobody leads</source>
   <translation>personne ne mène</translation>
  </message>
  <message>
   <source>none is seen</source>
   <translation>aucun n'est vu</translation>
  </message>
  <message>
   <source>none yet</source>
   <translation>pas encore</translation>
  </message>
  <message>
   <source>of all workers'</source>
   <translation>de tous les workers</translation>
  </message>
  <message>
   <source>of {n}</source>
   <translation>sur {n}</translation>
  </message>
  <message>
   <source>on {n} threads</source>
   <translation>sur {n} threads</translation>
  </message>
  <message>
   <source>only the end of it is shown</source>
   <translation>seule la fin est montrée</translation>
  </message>
  <message>
   <source>open</source>
   <translation>ouvert</translation>
  </message>
  <message>
   <source>passed</source>
   <translation>réussi</translation>
  </message>
  <message>
   <source>paused</source>
   <translation>en pause</translation>
  </message>
  <message>
   <source>refused</source>
   <translation>refusé</translation>
  </message>
  <message>
   <source>running</source>
   <translation>en cours</translation>
  </message>
  <message>
   <source>skipped</source>
   <translation>ignoré</translation>
  </message>
  <message>
   <source>threads</source>
   <translation>threads</translation>
  </message>
  <message>
   <source>timeout</source>
   <translation>délai dépassé</translation>
  </message>
  <message>
   <source>unknown</source>
   <translation>inconnu</translation>
  </message>
  <message>
   <source>warning</source>
   <translation>attention</translation>
  </message>
  <message>
   <source>{glyph} {age} old</source>
   <translation>{glyph} il y a {age}</translation>
  </message>
  <message>
   <source>{kind}: {n} passed, {m} not</source>
   <translation>{kind} : {n} réussis, {m} non</translation>
  </message>
  <message>
   <source>{name} leads</source>
   <translation>{name} mène</translation>
  </message>
  <message>
   <source>{name}, on this machine: {where}</source>
   <translation>{name}, sur cette machine : {where}</translation>
  </message>
  <message>
   <source>{n} are to be read</source>
   <translation>{n} sont à lire</translation>
  </message>
  <message>
   <source>{n} failed in all</source>
   <translation>{n} échecs en tout</translation>
  </message>
  <message>
   <source>{n} held back</source>
   <translation>{n} retenues</translation>
  </message>
  <message>
   <source>{n} lost of late</source>
   <translation>{n} perdus récemment</translation>
  </message>
  <message>
   <source>{n} missed</source>
   <translation>{n} manquées</translation>
  </message>
  <message>
   <source>{n} of {m}</source>
   <translation>{n} sur {m}</translation>
  </message>
  <message>
   <source>{n} of {m} cases</source>
   <translation>{n} cas sur {m}</translation>
  </message>
  <message>
   <source>{path} cannot be written</source>
   <translation>{path} ne peut pas être écrit</translation>
  </message>
  <message>
   <source>{run}: {n} of {m} cases are read</source>
   <translation>{run} : {n} cas lus sur {m}</translation>
  </message>
  <message>
   <source>{span} are kept</source>
   <translation>{span} conservés</translation>
  </message>
  <message>
   <source>{suite}, run {run}</source>
   <translation>{suite}, exécution {run}</translation>
  </message>
  <message>
   <source>{time}, {ago} ago</source>
   <translation>{time}, il y a {ago}</translation>
  </message>
  <message>
   <source>{where}: {why}. Another address: Ctrl+O.</source>
   <translation>{where} : {why}. Une autre adresse : Ctrl+O.</translation>
  </message>
  <message>
   <source>… and {n} more</source>
   <translation>… et {n} de plus</translation>
  </message>
  <message>
   <source>○ Looking for a cluster …</source>
   <translation>○ Recherche d'une grappe …</translation>
  </message>
  <message>
   <source>○ {where}: {why}</source>
   <translation>○ {where} : {why}</translation>
  </message>
  <message>
   <source>● Live from {where}</source>
   <translation>● En direct de {where}</translation>
  </message>
  <message>
   <source>◐ Connecting to {where} …</source>
   <translation>◐ Connexion à {where} …</translation>
  </message>
  <message>
   <source>◐ {where}: {why}</source>
   <translation>◐ {where} : {why}</translation>
  </message>
  <message>
   <source>✓ Nothing is wrong.</source>
   <translation>✓ Tout va bien.</translation>
  </message>
 </context>
</TS>
